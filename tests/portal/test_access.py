"""Who may see which page of the portal, enumerated from the routes so that a new page cannot be forgotten."""

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from billing.accounts import members
from billing.accounts.ids import encode
from billing.accounts.models import Member, Role, User
from portal import access
from tests.factories import make_member, make_user
from tests.portal.conftest import Stage
from tests.portal.pages import ACCOUNT_PAGES, MANAGERS_ONLY, NEEDING_ROWS, OPEN_PAGES, POST_ONLY, ROUTES

PAGES_WITH_POOLS = ["", "/ledger", "/ledger.csv"]
READ_ONLY = ["", "/ledger", "/ledger.csv"]
MANAGERS = (Role.OWNER, Role.ADMIN)


def test_the_routes_are_found() -> None:
    assert "" in ACCOUNT_PAGES
    assert {"/ledger", "/live"} <= set(OPEN_PAGES)
    assert set(ROUTES) >= MANAGERS_ONLY | POST_ONLY | NEEDING_ROWS
    assert len(ACCOUNT_PAGES) >= 29
    assert len(Role.values) >= 4


def _sign_in(stage: Stage, role: str) -> Client:
    """A browser in which somebody with this role in alice's account is signed in."""
    somebody = make_user(role)
    make_member(stage.account, somebody, role, now=stage.now)
    return _browser(somebody)


def _browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _not_found(client: Client, account: str, pages: Iterable[str] = ACCOUNT_PAGES) -> list[str]:
    """The pages of the account that are there, or that tell whose they are."""
    answers = {page: client.get(f"/a/{account}{page}") for page in pages}
    return [
        f"{account}{page}: {answer.status_code}"
        for page, answer in answers.items()
        if answer.status_code != 404 or "northwind" in answer.content.decode().lower()
    ]


def test_the_anonymous_go_to_the_login_page_and_come_back(client: Client, stage: Stage) -> None:
    answers = {page: client.get(stage.url + page) for page in ACCOUNT_PAGES}
    led = {page: (answer.status_code, answer.headers.get("Location")) for page, answer in answers.items()}
    assert led == {page: (302, f"/login?next={stage.url}{page}") for page in ACCOUNT_PAGES}


def test_a_stranger_gets_404_for_every_page(stage: Stage) -> None:
    mallory = _browser(stage.mallory)
    assert _not_found(mallory, encode("acc", stage.account.pk)) + _not_found(mallory, "northwind") == []


def test_an_account_that_does_not_exist_is_404(alice: Client) -> None:
    accounts = ["acc_0000000000009", "acc_99999999999999999999", "acc_0", "nobody", "acc_"]
    assert [found for account in accounts for found in _not_found(alice, account)] == []


def test_every_role_may_read_and_no_cache_keeps_a_page(stage: Stage) -> None:
    wrong = []
    for role in Role.values:
        client = _sign_in(stage, role)
        for page in OPEN_PAGES:
            answer = client.get(stage.url + page)
            if answer.status_code != 200 or "no-store" not in answer["Cache-Control"]:
                wrong.append((role, page, answer.status_code, answer["Cache-Control"]))
    assert wrong == []


def test_owners_and_admins_alone_open_what_is_theirs_and_no_cache_keeps_it(stage: Stage) -> None:
    wrong = []
    for role in Role.values:
        client = _sign_in(stage, role)
        for page in sorted(MANAGERS_ONLY):
            answer = client.get(stage.url + page)
            if answer.status_code != (200 if role in MANAGERS else 403) or "no-store" not in answer["Cache-Control"]:
                wrong.append((role, page, answer.status_code, answer["Cache-Control"]))
    assert wrong == []


def _act(request: HttpRequest, visit: access.Visit) -> HttpResponse:
    access.require_manager(visit)
    return HttpResponse("done")


def test_only_owners_and_admins_act_and_a_refusal_is_a_page_of_the_account(rf: RequestFactory, stage: Stage) -> None:
    wrong = []
    for role in Role.values:
        request = rf.get(stage.url)
        request.user = make_user(role)
        make_member(stage.account, request.user, role, now=stage.now)
        answer = access.account_page(_act)(request, account=encode("acc", stage.account.pk))
        text = answer.content.decode()  # type: ignore[attr-defined]
        reason = f"Your role in Northwind is {role.title()}. Only owners and admins may do this"
        refused = answer.status_code == 403 and reason in text and 'aria-label="Account"' in text
        if not (text == "done" if role in MANAGERS else refused):
            wrong.append((role, answer.status_code, text))
    assert wrong == []


def test_a_removed_member_gets_404_for_every_page(stage: Stage) -> None:
    bob = make_user("bob")
    member = make_member(stage.account, bob, now=stage.now)
    client = _browser(bob)
    members.remove(member_id=member.pk, now=stage.now)
    assert _not_found(client, encode("acc", stage.account.pk)) == []
    assert Member.objects.filter(pk=member.pk).exists()


def test_a_disabled_user_is_sent_to_the_login_page_by_every_page(alice: Client, stage: Stage) -> None:
    stage.alice.is_active = False
    stage.alice.save()
    led = {page: alice.get(stage.url + page).headers.get("Location", "") for page in ACCOUNT_PAGES}
    assert {page: where for page, where in led.items() if not where.startswith("/login")} == {}


def test_a_pool_of_another_account_is_404(alice: Client, stage: Stage) -> None:
    answers = {page: alice.get(f"{stage.url}{page}?pool=elsewhere").status_code for page in PAGES_WITH_POOLS}
    assert answers == dict.fromkeys(PAGES_WITH_POOLS, 404)


def test_pages_take_no_post_or_nothing_else(alice: Client, stage: Stage) -> None:
    assert {page: alice.post(stage.url + page).status_code for page in READ_ONLY} == dict.fromkeys(READ_ONLY, 405)
    refused = {page: alice.get(stage.url + page) for page in POST_ONLY}
    assert {page: answer.status_code for page, answer in refused.items()} == dict.fromkeys(POST_ONLY, 405)
    assert [page for page, answer in refused.items() if "no-store" not in answer["Cache-Control"]] == []


def test_the_integrators_id_is_an_address_too(alice: Client) -> None:
    pages = [page for page in ACCOUNT_PAGES if page not in POST_ONLY | NEEDING_ROWS]
    assert {page: alice.get(f"/a/northwind{page}").status_code for page in pages} == dict.fromkeys(pages, 200)


def test_staff_see_no_account_that_they_are_not_in(client: Client, stage: Stage) -> None:
    staff = make_user("stella")
    staff.is_staff = staff.is_superuser = True
    staff.save()
    client.force_login(staff)
    assert client.get(stage.url).status_code == 404
