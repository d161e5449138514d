"""The staff page of an account's test clock."""

from datetime import UTC, datetime

import pytest
from django.test import Client

from billing.accounts import clocks
from billing.accounts.models import Account, StaffAct, User
from billing.clock import advancing
from billing.ledger.models import CreditGrant
from tests.admin.conftest import Office, find_unrefused, post, text_of
from tests.factories import give_credits, make_account

START = datetime(2027, 1, 31, tzinfo=UTC)


@pytest.fixture
def fresh(office: Office) -> Account:
    account = make_account("fresh", now=START)
    advancing.open_clock(account_id=account.pk, starts_at=START, now=office.now)
    return account


def page(account: Account) -> str:
    return f"/admin/billing/account/{account.pk}/clock/"


def to(day: str) -> dict[str, object]:
    return {"advance_to_0": day, "advance_to_1": "00:00:00", "reason": "To show them"}


def test_staff_move_a_clock_and_read_what_happened(staff: Client, fresh: Account) -> None:
    give_credits(fresh, "5", now=START, expires_at=datetime(2027, 2, 2, tzinfo=UTC))
    assert "Move its test clock" in text_of(staff, page(fresh))
    answer = post(staff, page(fresh), **to("2027-02-05"))
    assert "now for this account: " in answer
    assert "1 x expire" in answer
    fresh.refresh_from_db()
    assert (fresh.clock_at, CreditGrant.objects.get(pool__account=fresh).remaining) == (
        datetime(2027, 2, 5, tzinfo=UTC), 0,
    )  # fmt: skip
    act = StaffAct.objects.get()
    assert (act.act, act.reason, act.before["clock_at"]) == ("clock", "To show them", "2027-01-31T00:00:00+00:00")


def test_an_account_in_real_time_is_put_on_a_clock_after_a_warning(staff: Client, office: Office) -> None:
    assert "It stays on it for good" in text_of(staff, page(office.account))
    day = f"{office.now.year + 1}-01-05"
    assert "now for this account" in post(staff, page(office.account), **to(day))
    office.account.refresh_from_db()
    assert str(office.account.clock_at).startswith(day)


def test_a_wrong_time_is_refused(staff: Client, fresh: Account) -> None:
    def unchanged() -> bool:
        fresh.refresh_from_db()
        return fresh.clock_at == START

    days = (("2027-01-30", "moved forward only"), ("2040-01-01", "five years"), ("", "Please correct"))
    faulty = [({"advance_to_0": day}, said) for day, said in days]
    assert find_unrefused(staff, page(fresh), to("2027-02-05"), faulty, unchanged=unchanged) == []


def test_a_clock_on_its_way_is_left_alone(staff: Client, fresh: Account) -> None:
    clocks.aim(account_id=fresh.pk, target_at=datetime(2027, 2, 5, tzinfo=UTC))
    assert "On its way to" in text_of(staff, page(fresh))
    assert "on its way" in post(staff, page(fresh), **to("2027-02-09"))


def test_without_the_sandbox_there_is_none(staff: Client, office: Office, settings) -> None:  # type: ignore[no-untyped-def]
    settings.FLORIN_GATEWAY = ""
    assert "sandbox gateway" in post(staff, page(office.account), **to("2040-01-01"))
    office.account.refresh_from_db()
    assert office.account.clock_at is None


def test_none_is_not_found_and_others_may_not(staff: Client, fresh: Account) -> None:
    assert staff.get(f"/admin/billing/account/{fresh.pk + 9}/clock/").status_code == 404
    staff.force_login(User.objects.create_user("vera@example.com", "florin", is_staff=True))
    assert staff.post(page(fresh), to("2027-02-05")).status_code == 403
    fresh.refresh_from_db()
    assert fresh.clock_at == START
