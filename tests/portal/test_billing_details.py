"""Billing details: what invoices say."""

import pytest
from django.test import Client

from billing.accounts.models import Account
from tests.portal.conftest import Stage

FORM = {
    "name": "Northwind GmbH",
    "billing_email": "pay@northwind.example",
    "address": "Hafenstr. 1\n20457 Hamburg",
    "country": "DE",
    "region": "hh",
    "tax_number": "de 123 456 789",
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
    assert (account.country, account.region, account.tax_number) == ("DE", "HH", "DE123456789")
    assert account.address.replace("\r", "") == FORM["address"]


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"billing_email": "nonsense"}, {"billing_email": ""}, {"country": "XX"}, {"country": ""},
     {"region": "x" * 11}, {"tax_number": "1" * 33}, {"address": "x" * 501}, {"name": "\x00"}],
)  # fmt: skip
def test_what_makes_no_sense_changes_nothing(alice: Client, stage: Stage, wrong: dict[str, str]) -> None:
    before = Account.objects.values().get(pk=stage.account.pk)
    answer = alice.post(f"{stage.url}/billing-details", {**FORM, **wrong})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.content.decode()
    assert Account.objects.values().get(pk=stage.account.pk) == before


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
