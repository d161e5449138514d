"""Every address of the API with alice's ids, asked by mallory's key and by nobody: enumerated from the URL
configuration. What mallory hears is what she would hear of ids that do not exist."""

import re
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.urls import URLPattern
from django.utils import timezone

from billing.accounts.models import Account
from billing.api import ids, urls
from billing.catalog.models import Pack
from billing.invoicing import crediting
from billing.ledger import holds, pools
from billing.metering import ingest
from billing.payments.models import CardSetup
from billing.purchases import checkout
from tests.api.asking import Api
from tests.factories import give_credits, make_meter, make_rate_card
from tests.subscriptions.makers import make_team, subscribe

# Ids in addresses that are nobody's.
SHARED = {"code", "gateway"}


def routes() -> Iterator[tuple[str, str]]:
    """Method and route of everything that takes an id."""
    for pattern in urls.urlpatterns:
        assert isinstance(pattern, URLPattern)
        if set(pattern.pattern.converters) - SHARED:
            view = pattern.callback.view_class  # type: ignore[attr-defined]
            yield from ((method, str(pattern.pattern)) for method in view.scopes)


ROUTES = sorted(set(routes()))


def fill(route: str, given: dict[str, str]) -> str:
    """The route with these ids; one that the test does not know fails here."""

    def value(match: re.Match[str]) -> str:
        assert match[1] in given, f"Teach `hers` what {match[1]} of {route} is."
        return given[match[1]]

    path = "/" + re.sub(r"<\w+:(\w+)>", value, route)
    return (
        path + "?from=2026-01-01&to=2026-01-02" if route.endswith(("/usage", "/statement", "/statement/pdf")) else path
    )


@pytest.fixture
def hers(transactional_db: None, acme: Account, shop: Pack) -> dict[str, str]:
    """One of everything that alice's account has, by the name of its id in addresses."""
    now = timezone.now()
    make_rate_card({make_meter(): "1"})
    pool = pools.get_main_pool(acme.pk)
    granted = give_credits(acme, "1000", now=now)
    ingest.take_events(events=[{"id": "event-1", "account": "acme", "meter": "tokens", "quantity": 1}], now=now)
    hold = holds.place(pool_id=pool.pk, amount=Decimal(5), reference="hold:1", now=now)
    card = acme.payment_methods.get()
    purchase = checkout.buy(
        token=uuid.uuid4(), account_id=acme.pk, pack_id=shop.pk, pool_id=pool.pk, credits=Decimal(10_000),
        method_id=card.pk, buyer_id=None, return_url="http://testserver/", now=now,
    )  # fmt: skip
    line = purchase.invoice.lines.get()
    note = crediting.credit(
        invoice_id=purchase.invoice_id, reference="test:credit", reason="A test", actor="test", now=now,
        items=[crediting.CreditItem(line_id=line.pk, amount=Decimal(1))],
    )  # fmt: skip
    return {
        "account": ids.encode(ids.ACCOUNT, acme.pk),
        "pool": "main",
        "member": ids.encode(ids.MEMBER, acme.members.first().pk),
        "event_id": "event-1",
        "grant": ids.encode(ids.GRANT, granted.entries.get().grant_id),
        "posting_id": ids.encode(ids.POSTING, granted.pk),
        "hold": ids.encode(ids.HOLD, hold.pk),
        "method": ids.encode(ids.PAYMENT_METHOD, card.pk),
        "purchase": ids.encode(ids.PURCHASE, purchase.pk),
        "invoice": ids.encode(ids.INVOICE, purchase.invoice_id),
        "credit_note": ids.encode(ids.CREDIT_NOTE, note.pk),
        "subscription": ids.encode(ids.SUBSCRIPTION, subscribe(acme, make_team(), now=now).pk),
        "setup": ids.encode(
            ids.CARD_SETUP,
            CardSetup.objects.create(
                account=acme, key="k", gateway="stripe", state="done", created_at=now, finished_at=now
            ).pk,
        ),
        "payment": ids.encode(ids.PAYMENT, purchase.invoice.payments.get().pk),
    }


def missing(given: dict[str, str]) -> dict[str, str]:
    """Ids of the same kinds that do not exist."""
    return {name: re.sub(r"\d+$", "987654321", value) for name, value in given.items()} | {
        "pool": "nowhere", "event_id": "event-987654321",
    }  # fmt: skip


def ask(caller: Api, method: str, path: str) -> tuple[int, str]:
    """Status and code of what is answered to an empty request."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    answer = caller.send(method, path, b"" if method in ("GET", "DELETE") else b"{}", headers=headers)
    document = answer.json() if answer.content and "json" in answer["Content-Type"] else {}
    return answer.status_code, document.get("code", "") if isinstance(document, dict) else ""


def test_mallory_cannot_tell_alices_ids_from_ids_that_do_not_exist(hers: dict[str, str], mallory: Api) -> None:
    assert len(ROUTES) > 30
    for method, route in ROUTES:
        of_alice = ask(mallory, method, fill(route, hers))
        of_nobody = ask(mallory, method, fill(route, missing(hers)))
        assert of_alice == of_nobody, (method, route)
        assert of_alice[0] in (400, 403, 404), (method, route, of_alice)


def test_nobody_hears_anything(hers: dict[str, str], anonymous: Api) -> None:
    for method, route in ROUTES:
        assert ask(anonymous, method, fill(route, hers)) == (401, "authentication_required"), (method, route)


def test_alice_reads_all_of_it(hers: dict[str, str], alice: Api) -> None:
    # The control: each address leads somewhere for the account whose ids they are.
    for method, route in ROUTES:
        if method == "GET":
            assert ask(alice, method, fill(route, hers))[0] == 200, route


def test_a_platform_key_tells_apart_what_mallory_cannot(hers: dict[str, str], platform: Api) -> None:
    differing: list[Any] = [
        (method, route)
        for method, route in ROUTES
        if ask(platform, method, fill(route, hers)) != ask(platform, method, fill(route, missing(hers)))
    ]
    assert len(differing) > len(ROUTES) / 2
