"""How Lumen AI's customers subscribe: their plans, what each renewal brings, seats that come and go, an upgrade.

What beat does every minute is done here at the moments at which something is due, so that a year takes seconds.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

from billing.catalog import periods, plans
from billing.catalog.models import PlanVersion
from billing.demo import buying
from billing.demo.cast import Customer
from billing.demo.parties import Party, Story
from billing.invoicing.models import Invoice
from billing.payments import collecting, transfers
from billing.payments.models import Collection
from billing.subscriptions.credits import allocations
from billing.subscriptions.followup import payment_news
from billing.subscriptions.lifecycle import changes, subscribing
from billing.subscriptions.models import Subscription
from billing.subscriptions.renewal import renewals

DAY = timedelta(days=1)
MONTHS = 12
PAYS_AFTER = 6 * DAY
MOST = 100


def scenes(story: Story, customer: Customer, joins_at: datetime) -> Iterable[tuple[datetime, Callable[..., None]]]:
    """Subscribing, each month's renewal, and the bank transfers of those who pay so."""
    if not customer.plan:
        return
    for number, at in enumerate(_boundaries(customer, joins_at)):
        act: Callable[..., None] = partial(renew if number else subscribe, story, customer)
        if at <= story.until:
            yield at, act
        if customer.pays_by_transfer and at + PAYS_AFTER <= story.until:
            yield at + PAYS_AFTER, partial(pay_by_transfer, story, customer)
    for days, act in _CHANGES.get(customer.key, ()):
        if joins_at + days * DAY <= story.until:
            yield joins_at + days * DAY, partial(act, story, customer)


def _boundaries(customer: Customer, joins_at: datetime) -> list[datetime]:
    """When the customer joins, its trial is over if it has one, and each month after that begins."""
    trial_days = _version(customer.plan).trial_days
    begins_on = periods.day_of(joins_at, customer.time_zone) + timedelta(days=trial_days)
    days = [
        periods.boundary(begins_on, interval="month", count=1, number=number)
        for number in range(0 if trial_days else 1, MONTHS + 1)
    ]
    return [joins_at, *(periods.first_moment(on, customer.time_zone) for on in days)]


def subscribe(story: Story, customer: Customer, *, now: datetime) -> None:
    """Begin with the plan that the customer is to have."""
    party = story.parties[customer.key]
    version = _version(customer.plan)
    subscribing.subscribe(
        account_id=party.account.pk,
        plan_version_id=version.pk,
        seats=version.seats_included,
        coupon_code=customer.coupon,
        collection=Subscription.Collection.MANUAL if customer.pays_by_transfer else Subscription.Collection.AUTOMATIC,
        reference=f"demo:{customer.key}",
        actor=f"user:{party.owner_id}",
        now=now,
    )
    _follow_up(party, now=now)


def renew(story: Story, customer: Customer, *, now: datetime) -> None:
    """What is due when a month has passed: the old one's last usage, then the new one's bill and credits."""
    party = story.parties[customer.key]
    story.report(party, now)
    done = renewals.run_due(now=now, limit=MOST, account_id=party.account.pk)
    assert not done.parked, party.account.subscriptions.get().problem  # noqa: S101
    _follow_up(party, now=now)


def add_seats(story: Story, customer: Customer, *, seats: int, now: datetime) -> None:
    """Other seats: more at once, fewer when the period ends."""
    _change(story.parties[customer.key], seats=seats, version_id=None, now=now)


def upgrade(story: Story, customer: Customer, *, plan: str, now: datetime) -> None:
    """Another, larger plan at once."""
    _change(story.parties[customer.key], seats=None, version_id=_version(plan).pk, now=now)


def pay_by_transfer(story: Story, customer: Customer, *, now: datetime) -> None:
    """The bank reports what the customer has sent for its open invoices, each by its number."""
    party = story.parties[customer.key]
    for invoice in party.account.invoices.filter(state=Invoice.State.OPEN).order_by("pk"):
        if invoice.payments.exists():
            continue
        transfer, _ = transfers.record(
            reference=f"bank-{invoice.number}", received_on=periods.day_of(now, customer.time_zone),
            amount=invoice.owed, currency=invoice.currency, payer=customer.name,
            remittance=f"Invoice {invoice.number}", actor=story.staff_actor, now=now,
        )  # fmt: skip
        transfers.match_by_itself(transfer_id=transfer.pk, now=now)
    _follow_up(party, now=now)


_CHANGES: dict[str, tuple[tuple[int, Callable[..., None]], ...]] = {
    "harvest": ((100, partial(add_seats, seats=5)), (150, partial(add_seats, seats=3))),
    "brightloop": ((200, partial(upgrade, plan="growth")),),
}


def _change(party: Party, *, seats: int | None, version_id: int | None, now: datetime) -> None:
    subscription = party.account.subscriptions.get()
    changes.change(
        subscription_id=subscription.pk, plan_version_id=version_id, seats=seats, reference=f"demo:{now:%Y-%m-%d}",
        actor=f"user:{party.owner_id}", now=now,
    )  # fmt: skip
    _follow_up(party, now=now)


def _follow_up(party: Party, *, now: datetime) -> None:
    """Charge what is to be charged, and let the subscription know what became of it."""
    for collection in Collection.objects.filter(invoice__account=party.account, closed_at=None).order_by("pk"):
        while (payment := collecting.take_turn(collection_id=collection.pk, done=Counter(), now=now)) is not None:
            buying.answer(payment, now=now)
    payment_news.follow_up(now=now, limit=MOST, account_id=party.account.pk)
    allocations.grant_due(now=now, limit=MOST, account_id=party.account.pk)


def _version(key: str) -> PlanVersion:
    return plans.versions_on_sale().get(plan__key=key)
