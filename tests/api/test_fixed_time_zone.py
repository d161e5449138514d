"""An account's time zone bounds its months for ever: every period, priced usage included, refers to it."""

import pytest

from billing.accounts import details
from billing.accounts.models import Account
from tests.api.asking import not_refused, written


def test_it_cannot_be_changed(platform, acme):
    rows = [{"time_zone": "Europe/Berlin"}, {"name": "New", "time_zone": "UTC"}]
    before, row = written(), Account.objects.values().get()
    answers = [(changes, platform.patch("/accounts/acme", changes), "time_zone") for changes in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert (written(), Account.objects.values().get()) == (before, row)


def test_the_room_refuses_it_too(acme):
    row = Account.objects.values().get()
    with pytest.raises(ValueError, match="time_zone"):
        details.change(account_id=acme.pk, changes={"name": "New", "time_zone": "Europe/Berlin"})
    assert Account.objects.values().get() == row


def test_it_is_given_when_the_account_is_opened(platform):
    body = {
        "external_id": "east", "name": "East", "billing_email": "e@example.com", "country": "DE",
        "time_zone": "Asia/Tokyo",
    }  # fmt: skip
    assert platform.post("/accounts", body).json()["time_zone"] == "Asia/Tokyo"
