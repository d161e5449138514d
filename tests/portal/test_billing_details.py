"""Billing details: what invoices say."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.accounts.models import Account
from billing.catalog.pack_models import Pack
from billing.invoicing import issuing, vies
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import PendingItem
from billing.invoicing.tax_models import TaxExemption
from tests.factories import give_credits, make_account, make_issuer, make_pack
from tests.payments.makers import make_card
from tests.portal.conftest import Stage
from tests.purchases.makers import make_rule

FORM = {
    "name": "Northwind GmbH",
    "billing_email": "pay@northwind.example",
    "address": "Hafenstr. 1\n20457 Hamburg",
    "country": "DE",
    "region": "hh",
    "tax_number": "de 811 907 980",
}


def test_what_is_known_is_shown(alice: Client, stage: Stage) -> None:
    page = alice.get(f"{stage.url}/billing-details").content.decode()
    assert 'value="billing@northwind.example"' in page
    assert '<option value="DE" selected>Germany</option>' in page
    assert "America/New_York" in page


def test_details_are_changed(alice: Client, stage: Stage) -> None:
    answer = alice.post(f"{stage.url}/billing-details", FORM, follow=True)
    assert "Saved" in answer.content.decode()
    account = Account.objects.get(pk=stage.account.pk)
    assert (account.name, account.billing_email) == ("Northwind GmbH", "pay@northwind.example")
    assert (account.country, account.region, account.tax_number) == ("DE", "HH", "DE811907980")
    assert account.address.replace("\r", "") == FORM["address"]


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"billing_email": "nonsense"}, {"billing_email": ""}, {"country": "XX"}, {"country": ""},
     {"region": "x" * 11}, {"tax_number": "1" * 33}, {"address": "x" * 501}, {"name": " "}],
)  # fmt: skip
def test_what_makes_no_sense_changes_nothing(alice: Client, stage: Stage, wrong: dict[str, str]) -> None:
    before = Account.objects.values().get(pk=stage.account.pk)
    answer = alice.post(f"{stage.url}/billing-details", {**FORM, **wrong})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.content.decode()
    assert Account.objects.values().get(pk=stage.account.pk) == before


def _change_currency(alice: Client, stage: Stage, code: str) -> str:
    """Post the form; what the account pays in afterwards."""
    alice.post(f"{stage.url}/billing-details", {"act": "currency", "currency": code})
    return Account.objects.get(pk=stage.account.pk).currency


@pytest.fixture
def sold(stage: Stage) -> None:
    """There are packs in dollars and in euros."""
    make_pack()
    make_pack("euros", currency="EUR")


def test_the_currency_can_be_changed_to_one_that_is_sold(alice: Client, stage: Stage, sold: None) -> None:
    page = _page(alice, stage)
    assert '<option value="EUR">EUR · Euro</option> <option value="USD" selected>' in page
    assert _change_currency(alice, stage, "JPY") == "USD"
    assert _change_currency(alice, stage, "EUR") == "EUR"
    assert Account.objects.get(pk=stage.account.pk).name == "Northwind"


def test_with_one_currency_there_is_nothing_to_change(alice: Client, stage: Stage) -> None:
    make_pack()
    assert 'name="currency"' not in _page(alice, stage)


@pytest.mark.parametrize("priced", ["an invoice", "an item of the next", "a top-up rule", "paid credits"])
def test_the_currency_stays_once_something_is_priced_in_it(
    alice: Client, stage: Stage, sold: None, priced: str
) -> None:
    account = stage.account
    if priced == "an invoice":
        make_issuer()
        draft = LineDraft("Help", Decimal(1), Decimal(5), Decimal(5))
        issuing.issue(account_id=account.pk, reference="x", currency="USD", lines=[draft], now=stage.now)
    elif priced == "an item of the next":
        PendingItem.objects.create(
            account=account,
            currency="USD",
            reference="x",
            description="x",
            unit_price=1,
            amount=1,
            created_at=stage.now,
        )
    elif priced == "a top-up rule":
        make_issuer()
        make_card(account, now=stage.now)
        make_rule(stage.pool, Pack.objects.get(key="credits"))
    else:
        give_credits(account, "5", now=stage.now, kind="purchase", cost_basis=Decimal(1), currency="USD")
    assert 'name="currency"' not in _page(alice, stage)
    assert _change_currency(alice, stage, "EUR") == "USD"


def test_what_stays_for_ever_stays(alice: Client, stage: Stage) -> None:
    alice.post(f"{stage.url}/billing-details", {**FORM, "currency": "JPY", "time_zone": "UTC", "external_id": "x"})
    account = Account.objects.get(pk=stage.account.pk)
    assert (account.currency, account.time_zone) == ("USD", "America/New_York")
    assert account.external_id == "northwind"


def test_a_stranger_changes_nothing(client: Client, stage: Stage) -> None:
    client.force_login(stage.mallory)
    assert client.post(f"{stage.url}/billing-details", FORM).status_code == 404
    assert Account.objects.get(pk=stage.account.pk).name == "Northwind"


def test_the_anonymous_change_nothing(client: Client, stage: Stage) -> None:
    assert client.post(f"{stage.url}/billing-details", FORM)["Location"].startswith("/login")
    assert Account.objects.get(pk=stage.account.pk).name == "Northwind"


def test_text_is_inert(alice: Client, stage: Stage) -> None:
    alice.post(f"{stage.url}/billing-details", {**FORM, "name": "<b>x", "address": "</textarea><b>y"})
    page = alice.get(f"{stage.url}/billing-details").content.decode()
    assert "<b>" not in page


NUMBER = {"country": "FR", "tax_number": "FR40303265045"}


def _page(client: Client, stage: Stage) -> str:
    return " ".join(client.get(f"{stage.url}/billing-details").content.decode().split())


def test_a_number_of_the_wrong_form_is_kept_and_said_to_be_so(alice: Client, stage: Stage) -> None:
    assert "does not look like a VAT number" not in _page(alice, stage)
    alice.post(f"{stage.url}/billing-details", {**FORM, **NUMBER, "tax_number": "FR12"})
    assert "does not look like a VAT number" in _page(alice, stage)
    assert Account.objects.get(pk=stage.account.pk).tax_number == "FR12"


@pytest.mark.parametrize(
    ("is_valid", "said"),
    [(True, "confirms your VAT number"), (False, "does not know this VAT number"), (None, "gave no answer yet")],
)
def test_the_register_is_asked_about_a_new_number_at_once(
    alice: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch, settings: Any, is_valid: bool | None, said: str
) -> None:
    asked = []

    def ask(vat_id: str, *, requester: str) -> vies.Answer:
        asked.append(vat_id)
        if is_valid is None:
            raise vies.NoAnswer("down")
        return vies.Answer(is_valid, "", "", "")

    settings.FLORIN_VIES_URL = "http://localhost:1"
    monkeypatch.setattr(vies, "ask", ask)
    alice.post(f"{stage.url}/billing-details", {**FORM, **NUMBER})
    assert said in _page(alice, stage)
    alice.post(f"{stage.url}/billing-details", {**FORM, **NUMBER, "name": "Renamed"})
    assert asked == ["FR40303265045"]


def test_certificates_that_count_or_will_are_shown(alice: Client, stage: Stage) -> None:
    today = stage.now.date()
    for number, days, until in (("NOW-1", -5, 5), ("PAST-2", -9, -1), ("SOON-3", 5, None)):
        TaxExemption.objects.create(
            account=stage.account, country="DE", number=number, valid_from=today + timedelta(days=days),
            valid_to=None if until is None else today + timedelta(days=until), created_at=stage.now,
        )  # fmt: skip
    TaxExemption.objects.create(
        account=make_account("other"), country="DE", number="OTHER-4", valid_from=today, created_at=stage.now
    )
    page = _page(alice, stage)
    assert "Certificate NOW-1" in page
    assert "Certificate SOON-3" in page
    assert "PAST-2" not in page
    assert "OTHER-4" not in page
