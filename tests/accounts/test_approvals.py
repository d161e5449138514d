"""M8: what one author may do alone in a day, however it is cut into pieces, and who decides the rest."""

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from billing.accounts import approvals
from billing.accounts.approvals import Worth
from billing.accounts.models import Account, Approval, User
from tests.factories import NOW, make_account, make_user
from tests.ledger.racing import race

BOUNDLESS = Worth(is_boundless=True)


@pytest.fixture
def account(db: None, settings) -> Account:
    settings.FLORIN_APPROVAL_CREDITS, settings.FLORIN_APPROVAL_MONEY = 1000, 100
    return make_account("northwind")


@pytest.fixture
def stella(account: Account) -> User:
    return make_user("stella")


def ask(user: User, amount: object, *, currency: str = "", reference: str = "", now=NOW, **fields: object) -> Approval:
    figure = Decimal(str(amount))
    worth = Worth(amount=figure, currency=currency) if currency else Worth(credits=figure)
    given = {
        "account_id": Account.objects.get().pk, "act": "grant", "payload": {"amount": str(amount)}, "reason": "Sorry",
        "reference": reference or f"staff:{Approval.objects.count()}", "worth": worth, **fields,
    }  # fmt: skip
    with transaction.atomic():
        return approvals.ask(user=user, now=now, **given)[0]  # type: ignore[arg-type]


def test_up_to_the_limit_an_act_is_done_at_once(stella: User) -> None:
    assert ask(stella, 1000).state == "immediate"
    assert ask(stella, "0.000001").state == "waiting"


def test_cutting_an_act_into_pieces_does_not_help(stella: User) -> None:
    assert [ask(stella, 400).state for _ in range(4)] == ["immediate", "immediate", "waiting", "waiting"]


def test_what_a_second_person_decides_does_not_use_up_the_authors_own_limit(stella: User) -> None:
    bob, waiting = make_user("bob"), [ask(stella, 5000) for _ in range(3)]
    approvals.approve(approval_id=waiting[0].pk, user=bob, note="", now=NOW)
    approvals.reject(approval_id=waiting[1].pk, user=bob, note="No", now=NOW)
    assert approvals.used_today(user_id=stella.pk, currency="", now=NOW) == 0
    assert [ask(stella, amount).state for amount in (999, 2, 1)] == ["immediate", "waiting", "immediate"]


def test_an_act_counts_in_credits_and_in_money_and_what_has_no_bound_always_waits(stella: User) -> None:
    sold = Worth(credits=Decimal(10), amount=Decimal("100.01"), currency="EUR")
    both = Worth(credits=Decimal(900), amount=Decimal(90), currency="EUR")
    worths = (sold, both, Worth(credits=Decimal(101)), Worth(amount=Decimal(11), currency="EUR"), Worth(), BOUNDLESS)
    found = [ask(stella, 0, worth=worth).state for worth in worths]
    assert found == ["waiting", "immediate", "waiting", "waiting", "immediate", "waiting"]


def test_withdrawing_gives_the_limit_back(stella: User) -> None:
    approvals.withdraw(approval_id=ask(stella, 1001).pk, user=stella, now=NOW)
    assert ask(stella, 1000).state == "immediate"


def test_the_limit_is_each_authors_own_and_begins_anew_each_day(stella: User) -> None:
    ask(stella, 1000)
    assert ask(make_user("bob"), 1000).state == "immediate"
    assert ask(stella, 1, now=NOW.replace(hour=23, minute=59)).state == "waiting"
    assert ask(stella, 999, now=NOW.replace(hour=0) + timedelta(days=1)).state == "immediate"


def test_credits_and_each_currencys_money_have_limits_of_their_own(stella: User) -> None:
    assert ask(stella, 1000).state == "immediate"
    assert ask(stella, 100, currency="EUR").state == "immediate"
    assert ask(stella, 100, currency="USD").state == "immediate"
    assert ask(stella, "0.01", currency="EUR").state == "waiting"


def test_the_same_reference_is_one_act(stella: User) -> None:
    first = ask(stella, 600, reference="staff:x")
    assert ask(stella, 600, reference="staff:x") == first
    with pytest.raises(approvals.ReferenceConflict):
        ask(stella, 601, reference="staff:x")
    with pytest.raises(approvals.ReferenceConflict):
        ask(make_user("bob"), 600, reference="staff:x")
    assert Approval.objects.count() == 1


def test_nobody_decides_what_they_asked_for(stella: User) -> None:
    waiting = ask(stella, 2000)
    for decide in (approvals.approve, approvals.reject):
        with pytest.raises(approvals.SamePerson):
            decide(approval_id=waiting.pk, user=stella, note="", now=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Approval.objects.filter(pk=waiting.pk).update(state="approved", decided_by=stella)
    with pytest.raises(IntegrityError), transaction.atomic():
        Approval.objects.filter(pk=waiting.pk).update(state="approved")
    with pytest.raises(approvals.NotYours):
        approvals.withdraw(approval_id=waiting.pk, user=make_user("bob"), now=NOW)
    waiting.refresh_from_db()
    assert waiting.state == "waiting"


def test_a_decision_falls_once(stella: User) -> None:
    bob, waiting = make_user("bob"), ask(stella, 2000)
    approvals.approve(approval_id=waiting.pk, user=bob, note="", now=NOW)
    for decide in (approvals.approve, approvals.reject):
        with pytest.raises(approvals.AlreadyDecided):
            decide(approval_id=waiting.pk, user=bob, note="", now=NOW)
    with pytest.raises(approvals.AlreadyDecided):
        approvals.withdraw(approval_id=waiting.pk, user=stella, now=NOW)
    with pytest.raises(approvals.AlreadyDecided):
        approvals.approve(approval_id=ask(make_user("carol"), 1).pk, user=bob, note="", now=NOW)


@pytest.mark.django_db(transaction=True)
def test_it_refuses_to_allow_an_act_outside_its_transaction(settings) -> None:
    make_account("northwind")
    with pytest.raises(ValueError, match="one transaction"):
        approvals.ask(
            user=make_user("stella"), account_id=Account.objects.get().pk, act="grant", payload={}, reference="r",
            worth=Worth(), reason="", now=NOW,
        )  # fmt: skip
    assert not Approval.objects.exists()


def _eight_at_once(settings) -> list[str]:
    settings.FLORIN_APPROVAL_CREDITS = 1000
    make_account("northwind")
    stella = make_user("stella")
    race([lambda number=number: ask(stella, 300, reference=f"staff:{number}") for number in range(8)])  # type: ignore[misc]
    return sorted(Approval.objects.values_list("state", flat=True))


@pytest.mark.django_db(transaction=True)
def test_of_eight_at_once_three_are_within_the_limit(settings) -> None:
    assert _eight_at_once(settings) == ["immediate"] * 3 + ["waiting"] * 5


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_all_eight_would_be(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control: all add up before any has written."""
    together = threading.Barrier(8)
    counted = approvals.used_today

    def count_and_wait(**asked):
        found = counted(**asked)
        together.wait(timeout=30)
        return found

    monkeypatch.setattr(approvals, "_lock_author", lambda user_id: None)
    monkeypatch.setattr(approvals, "used_today", count_and_wait)
    assert _eight_at_once(settings) == ["immediate"] * 8


@pytest.mark.django_db(transaction=True)
def test_of_many_who_approve_at_once_one_does(settings) -> None:
    settings.FLORIN_APPROVAL_CREDITS = 0
    make_account("northwind")
    waiting, people = ask(make_user("stella"), 1), [make_user(f"user{number}") for number in range(6)]
    outcome = race(
        [
            lambda person=person: approvals.approve(approval_id=waiting.pk, user=person, note="", now=NOW)  # type: ignore[misc]
            for person in people
        ],
        expected=(approvals.AlreadyDecided,),
    )
    assert outcome == {"done": 1, "AlreadyDecided": 5}
