"""Who may call which operation of the API, for all of them, each with a request that is taken from those who may."""

import re

from billing.api import urls
from tests.api.asking import all_but, everything
from tests.api.operations import PLATFORM_ONLY, SCOPES, guarded, judge, missing
from tests.undoing import undone

# What alice's account, as `hers` makes it, does not allow just now.
NOT_NOW = {
    # What has an invoice of the real series cannot become a test account.
    "move_test_clock": "account_invoiced",
    "begin_card_setup": "no_card_page",
    "create_subscription": "already_subscribed",
    "preview_subscription": "already_subscribed",
    "reactivate_subscription": "subscription_state",
    "resume_subscription": "subscription_state",
    "withdraw_subscription_change": "nothing_scheduled",
}


def test_the_schema_has_every_operation(every_operation):
    routed = {
        (method, "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(route.pattern)))
        for route in urls.urlpatterns
        for method in getattr(route.callback.view_class, "scopes", {})
    }
    assert routed == {(each.method, each.path) for each in guarded(every_operation)}


def test_each_request_is_taken_from_those_who_may(every_operation, hers, alice, platform):
    """The control: what is refused below, and in other files, is not refused because the request is wrong."""
    odd = {}
    for operation in guarded(every_operation):
        with undone():
            found = judge(operation.ask(platform if operation.name in PLATFORM_ONLY else alice, hers))
        if found[1] != NOT_NOW.get(operation.name, ""):
            odd[operation.name] = found
    assert odd == {}


def test_nobody_gets_in_without_a_key(every_operation, hers, anonymous):
    before = everything()
    odd = {}
    for operation in guarded(every_operation):
        answer = operation.ask(anonymous, hers)
        found = *judge(answer), answer.get("WWW-Authenticate")
        if found != (401, "authentication_required", 'Bearer realm="florin"'):
            odd[operation.name] = found
    assert odd == {}
    assert everything() == before


def test_each_needs_its_scope(every_operation, hers, scoped):
    callers = {scope: scoped(all_but(scope)) for scope in SCOPES}
    before = everything()
    odd = {}
    for operation in guarded(every_operation):
        for scope in (scope for scope, names in SCOPES.items() if operation.name in names):
            answer = operation.ask(callers[scope], hers)
            found = *judge(answer), answer.json().get("required_scope")
            if found != (403, "missing_scope", scope):
                odd[operation.name] = found
    assert odd == {}
    assert everything() == before


def test_none_needs_another_scope(every_operation, hers, scoped):
    callers = {scope: scoped([scope]) for scope in SCOPES}
    odd = {}
    for operation in guarded(every_operation):
        for scope in (scope for scope, names in SCOPES.items() if operation.name in names):
            # About what does not exist, so that little is done.
            found = judge(operation.ask(callers[scope], missing(hers)))
            if found[0] in (401, 403):
                odd[operation.name] = found
    assert odd == {}


def test_what_is_the_platforms_alone_is_refused_to_a_customer(every_operation, hers, alice):
    before = everything()
    found = {
        operation.name: judge(operation.ask(alice, hers))
        for operation in every_operation
        if operation.name in PLATFORM_ONLY
    }
    assert found == dict.fromkeys(PLATFORM_ONLY, (403, "platform_key_required"))
    assert everything() == before
