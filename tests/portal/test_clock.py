"""The portal of an account that is on a test clock."""

import uuid
from datetime import timedelta

from django.test import Client

from billing.accounts.models import Account
from billing.clock import advancing
from billing.payments.models import PaymentMethod
from tests.factories import give_credits
from tests.portal.conftest import Stage


def on_clock(stage: Stage, days: int) -> None:
    starts_at = stage.now + timedelta(days=days)
    advancing.open_clock(account_id=stage.account.pk, starts_at=starts_at, now=stage.now)
    stage.account.refresh_from_db()


def page_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_its_pages_say_so_and_others_do_not(alice: Client, stage: Stage) -> None:
    assert "test clock" not in page_of(alice, stage.url)
    on_clock(stage, 40)
    day = (stage.now + timedelta(days=40)).strftime("%Y")
    page = page_of(alice, stage.url)
    assert "This is a test account on a test clock" in page
    assert day in page


def test_what_is_done_happens_at_its_time(alice: Client, stage: Stage) -> None:
    on_clock(stage, 40)
    form = {"token": str(uuid.uuid4()), "number": "4242424242424242", "expiry": "08/40", "cvc": "123"}
    alice.post(f"{stage.url}/payment-methods", form)
    assert PaymentMethod.objects.get().created_at == Account.objects.get(pk=stage.account.pk).clock_at


def test_lots_are_expired_by_its_time_and_not_by_ours(alice: Client, stage: Stage) -> None:
    ends_at = stage.now + timedelta(days=10)
    give_credits(stage.account, "5", now=stage.now, kind="goodwill", expires_at=ends_at)
    page = page_of(alice, f"{stage.url}/ledger")
    assert "expires " in page
    assert "expired " not in page
    on_clock(stage, 40)
    page = page_of(alice, f"{stage.url}/ledger")
    assert "expired " in page
    assert "expires " not in page
