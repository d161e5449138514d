"""Credits of a plan whose money a payer had the bank take back: 1,000 a month for 50.00 and 19 % tax, 59.50 in all."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.invoicing.models import CreditNote, Invoice, PendingItem
from billing.ledger import expiry, pools, posting
from billing.ledger.models import Posting
from billing.payments import disputes
from billing.payments.gateways.contract import DisputeReport
from billing.payments.models import Collection, Dispute, Payment
from billing.subscriptions.credits import allocations
from billing.subscriptions.followup import payment_news
from billing.subscriptions.lifecycle import changes
from billing.subscriptions.renewal import renewals
from tests.factories import NOW, make_plan
from tests.ledger.racing import race
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe

pytestmark = pytest.mark.django_db

D = Decimal
DAY = timedelta(days=1)
APRIL = datetime(2025, 3, 31, 22, tzinfo=UTC)
MAY = datetime(2025, 4, 30, 22, tzinfo=UTC)


def tell(*states: str, amount: str = "", number: int = 1, now: datetime, payment: Payment | None = None) -> Dispute:
    """What the bank says of the first payment, or this one (default: of all of it), and what follows from it."""
    found = payment or Payment.objects.order_by("pk")[0]
    money = D(amount) if amount else found.amount
    for state in states:
        report = DisputeReport(
            found.idempotency_key, f"du_{number}", money, found.currency, "fraudulent", state, NOW + 9 * DAY
        )
        row = disputes.record(payment_id=found.pk, report=report, now=now)
    assert payment_news.follow_up(now=now, limit=100).failed == 0
    assert payment_news.follow_up(now=now, limit=100) == payment_news.Round()
    return row


def use(account, credits: str, *, now: datetime = NOW) -> None:
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=D(credits), reference=f"use:{credits}:{now}", now=now)


def stands(account, now: datetime) -> tuple[Decimal, Decimal]:
    """Credits that can be used, and those that are owed."""
    return max(available(account, now), D(0)), pools.get_main_pool(account.pk).overdraft


def told(subscription) -> list[tuple[str, str, str]]:
    """What the history says of disputes: granted credits, and those still to come."""
    rows = subscription.changes.filter(act__in=("dispute", "restore")).order_by("pk")
    return [(row.act, *(f"{D(row.details[name]).normalize():f}" for name in ("taken", "held"))) for row in rows]


@pytest.fixture
def team(account):
    """A month of a plan, paid by card."""
    add_card(account)
    subscription = subscribe(account, make_team(), collection="automatic")
    run(NOW)
    assert (available(account, NOW), Payment.objects.get().amount) == (1000, D("59.50"))
    return subscription


@pytest.fixture
def year(account):
    """A year of 1,000 credits each month for 1,200.00 and tax: 1,428.00."""
    add_card(account)
    version = make_team(interval="year", grants_monthly=True, prices={"USD": {"fee": "1200.00"}})
    subscription = subscribe(account, version, collection="automatic")
    run(NOW)
    assert (available(account, NOW), Payment.objects.get().amount) == (1000, 1428)
    return subscription


def test_what_is_left_is_revoked_what_was_used_is_owed_and_the_plan_goes_on(account, team):
    use(account, "300")
    tell("open", now=NOW + DAY)
    team.refresh_from_db()
    assert (stands(account, NOW + DAY), team.state, team.past_due_at) == ((0, 300), "active", None)
    assert told(team) == [("dispute", "1000", "0")]
    notes = Posting.objects.filter(reference__startswith="chargeback:").values_list("note", flat=True)
    assert set(notes) == {f"Payment disputed ({Invoice.objects.get()})"}
    # The next month is paid for: what is owed comes out of it.
    run(APRIL)
    assert stands(account, APRIL) == (700, 0)


def test_won_everything_comes_again_for_as_long_as_it_would_have_been_good(account, team):
    use(account, "300")
    tell("open", now=NOW + DAY)
    tell("won", now=NOW + 11 * DAY)
    assert stands(account, NOW + 11 * DAY) == (700, 0)
    assert told(team) == [("dispute", "1000", "0"), ("restore", "1000", "0")]
    run(APRIL)
    assert stands(account, APRIL) == (1700, 0)
    assert stands(account, APRIL + 10 * DAY) == (1000, 0)
    run(MAY)
    assert stands(account, MAY) == (1000, 0)


def test_lost_the_credits_stay_taken_and_a_credit_note_says_so(account, team):
    use(account, "300")
    tell("lost", now=NOW + DAY)
    assert (stands(account, NOW + DAY), CreditNote.objects.get().total) == ((0, 300), D("59.50"))
    assert told(team) == [("dispute", "1000", "0")]
    tell("won", now=NOW + 2 * DAY)
    assert stands(account, NOW + 2 * DAY) == (0, 300)


@pytest.mark.parametrize("states", [("open", "won"), ("inquiry",), ("inquiry", "closed")])
def test_what_is_over_before_anybody_looked_takes_nothing(account, team, states):
    tell(*states, now=NOW + DAY)
    assert (stands(account, NOW + DAY), told(team)) == ((1000, 0), [])


def test_a_part_takes_its_part_and_another_one_the_rest(account, team):
    use(account, "300")
    tell("open", amount="23.80", now=NOW + DAY)  # two fifths
    assert stands(account, NOW + DAY) == (300, 0)
    tell("lost", amount="35.70", number=2, now=NOW + DAY)
    assert stands(account, NOW + DAY) == (0, 300)
    tell("won", amount="23.80", now=NOW + DAY)
    assert stands(account, NOW + DAY) == (100, 0)
    assert told(team) == [("dispute", "400", "0"), ("dispute", "600", "0"), ("restore", "400", "0")]


def test_after_one_that_was_won_another_takes_back_what_came_again(account, team):
    use(account, "300")
    tell("open", now=NOW + DAY)
    tell("won", now=NOW + 2 * DAY)
    tell("open", number=2, now=NOW + 3 * DAY)
    assert stands(account, NOW + 3 * DAY) == (0, 300)
    tell("won", number=2, now=NOW + 4 * DAY)
    assert stands(account, NOW + 4 * DAY) == (700, 0)


def test_what_was_rolled_over_is_taken_back_too(account):
    add_card(account)
    version = make_team(rollover="all", rollover_periods=2)
    subscription = subscribe(account, version, collection="automatic")
    run(NOW)
    use(account, "300")
    run(APRIL)
    assert stands(account, APRIL) == (1700, 0)
    tell("open", now=APRIL + DAY)
    assert (stands(account, APRIL + DAY), told(subscription)) == ((700, 0), [("dispute", "1000", "0")])
    tell("won", now=APRIL + 2 * DAY)
    assert stands(account, APRIL + 2 * DAY) == (1700, 0)


def test_credits_still_to_come_are_held_back_and_come_late_if_it_is_won(account, year):
    use(account, "300")
    tell("open", now=NOW + DAY)
    assert (stands(account, NOW + DAY), told(year)) == ((0, 300), [("dispute", "1000", "11000")])
    run(APRIL)
    assert stands(account, APRIL) == (0, 300)
    tell("won", now=APRIL + 5 * DAY)
    # 700 of March are good for as long as they were gone; April's thousand for five days more.
    assert stands(account, APRIL + 5 * DAY) == (1700, 0)
    assert told(year)[1] == ("restore", "1000", "11000")
    run(MAY)
    assert (stands(account, MAY), stands(account, MAY + 6 * DAY)) == ((2700, 0), (1000, 0))


def test_credits_that_come_some_hours_late_leave_the_months_where_they_are(account, year):
    tell("open", now=NOW + DAY)
    run(APRIL)
    later = APRIL + timedelta(hours=10)
    tell("won", now=later)
    run(later)
    assert stands(account, later) == (2000, 0)
    for now, credits in ((MAY, 2000), (MAY + timedelta(hours=11), 1000)):
        run(now)
        assert stands(account, now) == (credits, 0)
    year.refresh_from_db()
    assert (year.next_due_at, year.parked_at) == (datetime(2025, 5, 31, 22, tzinfo=UTC), None)


def test_credits_still_to_come_never_come_if_it_is_lost(account, year):
    tell("open", now=NOW + DAY)
    tell("lost", now=APRIL + 5 * DAY)
    run(APRIL + 5 * DAY)
    run(MAY)
    assert stands(account, MAY) == (0, 0)
    assert year.allocations.filter(cancelled_at=None, granted_at=None).count() == 0


def test_of_credits_still_to_come_a_part_is_held_back(account, year):
    tell("open", amount="357.00", now=NOW + DAY)  # a quarter
    assert (stands(account, NOW + DAY), told(year)) == ((750, 0), [("dispute", "250", "2750")])
    run(APRIL)
    assert stands(account, APRIL) == (750, 0)
    expiry.expire_due(now=APRIL + DAY, grace_seconds=3600)
    tell("lost", amount="714.00", number=2, now=APRIL + DAY)  # a half more
    assert (stands(account, APRIL + DAY), told(year)[1]) == ((250, 0), ("dispute", "500", "5000"))
    tell("won", amount="357.00", now=APRIL + DAY)
    # A quarter of March is good for a while still, and one of April comes late.
    run(APRIL + DAY)
    assert stands(account, APRIL + DAY) == (750, 0)
    run(MAY)
    tell("open", amount="714.00", number=3, now=MAY + DAY)  # all that is left
    assert stands(account, MAY + DAY) == (0, 0)
    run(MAY + 40 * DAY)
    assert stands(account, MAY + 40 * DAY) == (0, 0)


@pytest.mark.parametrize("fee", ["240.00", "2400.00"], ids=["cheaper", "dearer"])
def test_days_whose_money_the_bank_has_pay_for_no_other_plan(account, year, fee):
    other = make_plan("other", interval="year", prices={"USD": {"fee": fee}})
    asked = {"subscription_id": year.pk, "plan_version_id": other.pk, "actor": "t", "now": NOW + DAY}
    tell("open", now=NOW + DAY)
    with pytest.raises(changes.InvoiceUnpaid):
        changes.change(**asked, when="now", reference="a")
    assert (Invoice.objects.count(), PendingItem.objects.count()) == (1, 0)
    # With the next period it costs what it costs.
    changes.change(**asked, when="period_end", reference="b")
    tell("won", now=NOW + DAY)
    changes.change(**asked, when="now", reference="c")
    year.refresh_from_db()
    assert year.plan_version == other


@pytest.fixture
def seats(account):
    """A year of 1,000 credits a month, 12,000.00, and 600.00 and 100 credits for each seat; two seats from May on."""
    add_card(account)
    prices = {"USD": {"fee": "12000.00", "seat_price": "600.00"}}
    version = make_team(interval="year", grants_monthly=True, prices=prices, credits_per_seat=D(100))
    subscription = subscribe(account, version, collection="automatic")
    for now in (NOW, APRIL):
        run(now)
    change_seats(subscription, 2, now=MAY)
    for _ in range(2):
        run(MAY)
    assert [each.state for each in Invoice.objects.order_by("pk")] == ["paid", "paid"]
    return subscription


def change_seats(subscription, seats: int, *, now: datetime) -> None:
    renewals.run_due(now=now, limit=1)
    changes.change(
        subscription_id=subscription.pk, plan_version_id=subscription.plan_version_id, seats=seats, when="now",
        reference=f"seats:{seats}", actor="t", by_staff=True, now=now,
    )  # fmt: skip


def to_come(subscription, month: int) -> Decimal:
    """Credits that are promised for a month of 2025 and not held back."""
    rows = subscription.allocations.filter(dispute=None, cancelled_at=None, granted_at=None)
    return sum((row.credits for row in rows if (row.starts_at + DAY).month == month), D(0))


def test_of_two_invoices_for_the_same_months_each_has_its_own_credits(account, seats):
    assert (stands(account, MAY), to_come(seats, 7)) == ((1200, 0), 1200)
    first, second = Payment.objects.order_by("pk")
    tell("open", payment=second, now=MAY + DAY)
    assert (stands(account, MAY + DAY), to_come(seats, 7)) == ((1000, 0), 1000)
    tell("won", payment=second, now=MAY + DAY)
    tell("open", payment=first, number=2, now=MAY + DAY)
    assert (stands(account, MAY + DAY), to_come(seats, 7)) == ((200, 0), 200)


def test_what_fewer_seats_leave_is_of_the_invoice_that_paid_for_most_of_it(account, seats):
    change_seats(seats, 1, now=MAY + timedelta(hours=1))
    assert to_come(seats, 7) == 1100
    tell("open", now=MAY + DAY)
    assert to_come(seats, 7) == 0


@pytest.mark.django_db(transaction=True)
def test_told_and_followed_by_many_at_once_it_is_taken_once_and_given_back_once(transactional_db, account, year):
    payment = Payment.objects.get()

    def say(state: str) -> None:
        report = DisputeReport(payment.idempotency_key, "du_1", payment.amount, "USD", "fraudulent", state, None)
        disputes.record(payment_id=payment.pk, report=report, now=NOW + DAY)

    def look() -> None:
        assert payment_news.follow_up(now=NOW + DAY, limit=10).failed == 0
        allocations.grant_due(now=NOW + DAY, limit=10)

    use(account, "300")
    assert race([lambda: say("open"), look] * 4) == {"done": 8}
    look()
    assert (stands(account, NOW + DAY), told(year)) == ((0, 300), [("dispute", "1000", "11000")])
    assert race([lambda: say("won"), look] * 4) == {"done": 8}
    look()
    assert (stands(account, NOW + DAY), told(year)[1:]) == ((700, 0), [("restore", "1000", "11000")])


def test_of_an_invoice_that_is_not_paid_yet_the_credits_hang_on_no_payment(account):
    from billing.payments import transfers
    from tests.payments.test_transfers import receive

    subscription = subscribe(account, make_team())
    run(NOW)
    invoice = Invoice.objects.get()
    transfer = receive("20.00", currency="USD")
    part = transfers.match(transfer_id=transfer.pk, invoice_id=invoice.pk, key="1", now=NOW)
    tell("open", amount="20.00", payment=part, now=NOW + DAY)
    assert (stands(account, NOW + DAY), told(subscription)) == ((1000, 0), [])
    # Paid in full meanwhile, a part of it is disputed.
    rest = receive("39.50", reference="b", currency="USD")
    transfers.match(transfer_id=rest.pk, invoice_id=invoice.pk, key="1", now=NOW + 2 * DAY)
    run(NOW + 2 * DAY)
    assert told(subscription) == [("dispute", "336.134454", "0")]


def test_an_invoice_that_nobody_collects_is_disputed_all_the_same(account, team):
    Collection.objects.all().delete()
    assert tell("open", now=NOW + DAY).state == "open"
    assert told(team) == []
