"""Every address and id that alice can reach, replayed as mallory and as nobody: enumerated from the URL configuration,
so that a new page fails here until it says what its ids are."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from billing.accounts import keys
from billing.accounts.ids import encode
from billing.accounts.models import Role, Scope
from billing.invoicing import crediting
from billing.notifications import invitations
from billing.payments.models import CardSetup
from billing.purchases import checkout
from tests.factories import make_issuer, make_member, make_pack, make_plan, make_user
from tests.portal.conftest import BuildOnce, Stage
from tests.portal.shop import make_card, make_invoice
from tests.subscriptions.makers import subscribe

# Addresses that need no account, each for a reason. All others begin with the account they belong to.
FOR_EVERYBODY = {
    "health": "says that the servers answer",
    "web_health": "says that the database answers",
    "home": "leads each person to their own account",
    "invitation": "opened by whoever was sent its token",
    "bank": "the sandbox bank's own page, opened by whoever was sent its reference",
}
# The entrance and a person's own pages name no account and no id: who asks is known by the session alone.
BY_PERSON = ("account_", "mfa_", "profile", "change_email", "keep_email", "security", "end_sessions", "login", "logout",
             "password_reset", "impersonation")  # fmt: skip


@dataclass(frozen=True)
class Address:
    """A route of an account: its full name, and the names of its ids."""

    name: str
    ids: tuple[str, ...]

    def url(self, given: dict[str, Any]) -> str:
        """The address with these ids; a page with an id that the test does not know fails here."""
        name = self.name.split(":")[-1]
        values = {each: given.get(f"{name}.{each}", given.get(each)) for each in self.ids}
        unknown = [each for each, value in values.items() if value is None]
        assert not unknown, f"Teach `belongings` what {unknown} of {self.name} is."
        return reverse(self.name, kwargs=values)


def routes() -> Iterator[tuple[str, str, URLPattern]]:
    """All routes but the API's and the admin's: name, route, pattern."""

    def walk(
        patterns: list[URLPattern | URLResolver], before: str, space: str
    ) -> Iterator[tuple[str, str, URLPattern]]:
        for pattern in patterns:
            route = before + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                yield f"{space}{pattern.name}", route, pattern
            elif pattern.namespace != "admin" and not route.startswith("api/"):
                yield from walk(pattern.url_patterns, route, f"{pattern.namespace}:" if pattern.namespace else space)

    return walk(get_resolver().url_patterns, "", "")


ROUTES = [each for each in routes() if not each[1].startswith("admin/")]
ADDRESSES = [
    Address(name, tuple(pattern.pattern.converters)) for name, route, pattern in ROUTES if "<str:account>" in route
]


def belongings(stage: Stage) -> dict[str, Any]:
    """One of everything of alice's, by the name of its id in addresses."""
    make_issuer()
    pack, now = make_pack(), stage.now
    card = make_card(stage, make_default=True)
    token = uuid.uuid4()
    purchase = checkout.buy(
        token=token, account_id=stage.account.pk, pack_id=pack.pk, pool_id=stage.pool.pk, credits=Decimal(10_000),
        method_id=card.pk, buyer_id=stage.alice.pk, return_url="http://testserver/", now=now,
    )  # fmt: skip
    line = purchase.invoice.lines.get()
    note = crediting.credit(
        invoice_id=purchase.invoice_id, reference="test:credit", reason="A test",
        items=[crediting.CreditItem(line_id=line.pk, amount=Decimal(100))], actor="test", now=now,
    )  # fmt: skip
    subscribe(stage.account, make_plan(prices={"USD": {"fee": "50", "seat_price": "5"}}, seats_included=1), now=now)
    bob = make_member(stage.account, make_user("bob"), Role.MEMBER, now=now)
    invitation = invitations.send(
        account=stage.account, email="carol@example.com", role=Role.MEMBER, invited_by=stage.alice, now=now
    )
    key, _ = keys.issue(name="hers", scopes=[Scope.READ], account=stage.account, created_by=stage.alice, now=now)
    return {
        "account": encode("acc", stage.account.pk),
        "pack": pack.key,
        "plan": make_plan("other").plan.key,
        "token": token,
        "invoice": make_invoice(stage).pk,
        "note": note.pk,
        "credit_note_pdf.invoice": purchase.invoice_id,
        "method": make_card(stage).pk,
        "member": bob.pk,
        "invitation": invitation.pk,
        "key": key.pk,
        "card_setup.token": begin_setup(stage, now),
        "notification": stage.account.notifications.order_by("pk").first().pk,
    }


def begin_setup(stage: Stage, now: datetime) -> uuid.UUID:
    """A way to the gateway's page that alice has gone."""
    token = uuid.uuid4()
    CardSetup.objects.create(
        account=stage.account, key=f"{stage.account.pk}:form:{token}", gateway="stripe", created_at=now
    )
    return token


@pytest.fixture(scope="module")
def shared_belongings(build_once: BuildOnce, scene: Stage) -> dict[str, Any]:
    return build_once(lambda: belongings(scene))


@pytest.fixture
def hers(shared_belongings: dict[str, Any], stage: Stage) -> dict[str, Any]:
    """What alice has."""
    return dict(shared_belongings)


def table_sizes() -> dict[str, int]:
    """How many rows each table of ours has."""
    with connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names(cursor) if name.startswith("billing_")]
        sizes = {}
        for table in tables:
            cursor.execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t")
            sizes[table] = cursor.fetchone()
    return sizes


def test_every_address_belongs_to_an_account_or_says_why_not():
    others = {name.split(":")[-1] for name, route, _ in ROUTES if "<str:account>" not in route}
    assert {name for name in others if not name.startswith(BY_PERSON)} - FOR_EVERYBODY.keys() == set()
    assert len(ADDRESSES) > 15


def sweep(client: Client, given: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """What GET and POST of every address answer."""
    answers = {}
    for address in ADDRESSES:
        url = address.url(given)
        answers[address.name] = (client.get(url).status_code, client.post(url).status_code)
    return answers


def test_alice_reaches_every_address_of_her_account(client: Client, stage: Stage, hers: dict[str, Any]) -> None:
    # The control: each of these addresses shows something to her, so that another's 404 means something.
    client.force_login(stage.alice)
    for address in ADDRESSES:
        status = client.get(address.url(hers)).status_code
        assert status in (200, 204, 302, 304, 405), (address, status)


@pytest.mark.parametrize("enter", ["force_login", "logout"], ids=["mallory", "nobody"])
def test_a_stranger_reaches_none_of_them(client: Client, stage: Stage, hers: dict[str, Any], enter: str) -> None:
    if enter == "force_login":
        client.force_login(stage.mallory)
    before = table_sizes()
    answers = sweep(client, hers)
    refused = 404 if enter == "force_login" else 302
    # A page that takes no POST says so to everybody.
    assert {name: found for name, found in answers.items() if found not in ((refused, refused), (refused, 405))} == {}
    assert table_sizes() == before


def test_mallory_reaches_none_of_alices_ids_through_her_own_account(
    client: Client, stage: Stage, hers: dict[str, Any]
) -> None:
    client.force_login(stage.mallory)
    own = stage.mallory.memberships.get().account_id
    before = table_sizes()
    mixed = {**hers, "account": encode("acc", own)}
    # A pack and a plan are for sale to everybody; all other ids are one account's.
    with_ids = [each for each in ADDRESSES if set(each.ids) - {"account", "pack", "plan"}]
    assert len(with_ids) >= 5
    for address in with_ids:
        url = address.url(mixed)
        answers = (client.get(url).status_code, client.post(url).status_code)
        assert set(answers) <= {404, 405}, (address, answers)
        assert 404 in answers, address
    assert table_sizes() == before


@pytest.mark.parametrize("leave", ["remove", "disable"])
def test_whoever_leaves_reaches_nothing_from_the_next_request_on(
    client: Client, stage: Stage, hers: dict[str, Any], leave: str
) -> None:
    bob = stage.account.members.get(user__email="bob@example.com")
    client.force_login(bob.user)
    assert client.get(f"/a/{hers['account']}").status_code == 200
    if leave == "remove":
        bob.removed_at = stage.now
        bob.save()
    else:
        bob.user.is_active = False
        bob.user.save()
    gone = {404} if leave == "remove" else {302}
    assert {client.get(address.url(hers)).status_code for address in ADDRESSES} == gone


def test_the_guard_is_what_refuses(
    client: Client, stage: Stage, hers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With the one tenancy check letting mallory in, her pages open: it is the check that the other tests see.
    def anybody(user: Any) -> list[Any]:
        return [stage.account.members.select_related("account").get(user=stage.alice)]

    monkeypatch.setattr("portal.access.list_places", anybody)
    client.force_login(stage.mallory)
    assert client.get(f"/a/{hers['account']}/invoices").status_code == 200
