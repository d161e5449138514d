"""What becomes of a subscription once its invoices are paid, or are not: it reads the news that payments leaves on its
collections.

Locks: the subscription's row, then the invoice's, the collection's, then what the act locks.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from django.db import OperationalError, transaction

from billing.accounts import clocks
from billing.accounts.models import Account
from billing.catalog import plans
from billing.catalog.models import PlanVersion
from billing.catalog.pricing import round_money
from billing.invoicing import engines, settling
from billing.invoicing.models import Invoice
from billing.notifications import outbox
from billing.payments.models import Collection
from billing.subscriptions import guards, history
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.charges import overage, subscription_invoices
from billing.subscriptions.credits import allocations, dispute_credits
from billing.subscriptions.followup import voided_invoices
from billing.subscriptions.lifecycle import end, period_start, restart, scheduled_change, subscribing
from billing.subscriptions.models import Subscription, SubscriptionChange

log = structlog.get_logger(__name__)

State = Subscription.State
Act = SubscriptionChange.Act

PURPOSE = "subscription:"
# What references of acts for want of payment begin with.
LAPSE = "lapse:"
# A day less an hour, so that whoever comes back the next day at the same time begins anew.
INCOMPLETE_FOR = timedelta(hours=23)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did: news read, and incomplete subscriptions given up."""

    followed: int = 0
    abandoned: int = 0
    failed: int = 0


def follow_up(*, now: datetime, limit: int, account_id: int | None = None) -> Round:
    """Let subscriptions follow what became of their invoices, and end those whose first one stays unpaid.

    Paid: what waited is granted, and nothing overdue is left of it: active. Overdue: past due. Exhausted: what the
    dunning policy ends with. Disputed: what the money has paid for is taken back, or comes again. At most `limit` of
    each; safe to run at any time, twice, or in several workers. One that fails is logged and tried again, the others
    go on.
    """
    news = Collection.objects.filter(has_news=True, purpose__startswith=PURPOSE)
    waiting = Subscription.objects.filter(state=State.INCOMPLETE, started_at__lte=now - INCOMPLETE_FOR)
    news = clocks.narrow(news, account_id=account_id, road="invoice__account")
    waiting = clocks.narrow(waiting, account_id=account_id)
    followed = abandoned = failed = 0
    for collection_id in guards.in_turn(news, size=limit):
        if followed == limit:
            break
        try:
            followed += engines.with_tax(partial(_follow, collection_id, now=now), now=now)
        except OperationalError:
            raise
        except Exception:
            failed += 1
            log.exception("standing.failed", collection_id=collection_id)
    for subscription_id in guards.in_turn(waiting, size=limit):
        if abandoned == limit:
            break
        try:
            abandoned += _give_up(subscription_id, now=now)
        except OperationalError:
            raise
        except Exception:
            failed += 1
            log.exception("standing.not_given_up", subscription_id=subscription_id)
    return Round(followed, abandoned, failed)


def _follow(collection_id: int, *, now: datetime) -> bool:
    purpose = Collection.objects.values_list("purpose", flat=True).get(pk=collection_id)
    with transaction.atomic():
        subscription = guards.find_unlocked(int(purpose.removeprefix(PURPOSE)))
        Invoice.objects.select_for_update(no_key=True).filter(collection=collection_id).first()
        rows = Collection.objects.select_for_update(no_key=True, of=("self",)).filter(pk=collection_id, has_news=True)
        collection = rows.select_related("invoice").first()
        if subscription is None or collection is None:
            return False
        # Told before it is acted upon: what the act does to the collection is news again.
        collection.has_news = False
        collection.save(update_fields=["has_news"])
        # Paid meanwhile, it is neither overdue nor a reason to end anything, whatever the collection still says.
        if Invoice.State.PAID in (collection.invoice.state, collection.state):
            _note_paid(subscription, collection, now=now)
        elif collection.state == Collection.State.OVERDUE:
            _note_overdue(subscription, collection, now=now)
        elif collection.state == Collection.State.EXHAUSTED:
            _lapse(subscription, collection, now=now)
        elif collection.state == Collection.State.STOPPED:  # Nobody asks for the money any more.
            if collection.invoice.state == Invoice.State.VOID:
                voided_invoices.follow(subscription, collection.invoice, now=now)
            _recover(subscription, collection, now=now)
        dispute_credits.follow(subscription, collection.invoice, now=now)
        return True


def _give_up(subscription_id: int, *, now: datetime) -> bool:
    with transaction.atomic():
        subscription = guards.find_unlocked(subscription_id)
        if subscription is None or subscription.state != State.INCOMPLETE:
            return False
        return end.abandon(subscription, now=now)


def _note_paid(subscription: Subscription, collection: Collection, *, now: datetime) -> None:
    if subscription.state == State.INCOMPLETE:
        _activate(subscription, collection, now=now)
        return
    if subscription.is_live:
        allocations.grant_now(subscription, now=now)
    _recover(subscription, collection, now=now)


def _recover(subscription: Subscription, collection: Collection, *, now: datetime) -> None:
    """Where nothing overdue is owed any more the subscription is in good standing, and what was paused goes on."""
    owing = Collection.objects.filter(
        purpose=collection.purpose, state__in=(Collection.State.OVERDUE, Collection.State.EXHAUSTED)
    ).filter(invoice__state=Invoice.State.OPEN)
    if owing.exists():
        return
    was_paused = subscription.account.paused_at is not None
    if was_paused:
        Account.objects.filter(pk=subscription.account_id).update(paused_at=None)
    if subscription.past_due_at is None and not was_paused:
        return
    subscription.past_due_at = None
    if subscription.state == State.PAST_DUE:
        subscription.state = State.ACTIVE
    subscription.save(update_fields=["past_due_at", "state"])
    _note(subscription, Act.RECOVER, f"recover:{collection.pk}", collection, now=now)
    if was_paused and subscription.state == State.PAUSED and _was_lapse(subscription):
        restart.take_up(subscription, reference=f"resume:{collection.pk}", actor=history.SYSTEM, now=now)


def _was_lapse(subscription: Subscription) -> bool:
    """Whether it was paused for want of payment, not by whoever has it."""
    last = subscription.changes.filter(act=Act.PAUSE).order_by("-pk").first()
    return last is not None and last.reference.startswith(LAPSE)


def _activate(subscription: Subscription, collection: Collection, *, now: datetime) -> None:
    terms = agreed.of(subscription, at=subscription.period_starts_at)
    cycle = allocations.running_cycles(subscription, terms)[0]
    subscription.state, subscription.next_due_at = State.ACTIVE, cycle[1]
    subscription.save(update_fields=["state", "next_due_at"])
    period_start.settle_in(subscription, terms, cycle=cycle, starts_at=subscription.started_at, now=now)
    _note(subscription, Act.ACTIVATE, f"activate:{subscription.pk}", collection, now=now)
    subscribing.welcome(subscription, terms, now=now)


def _note_overdue(subscription: Subscription, collection: Collection, *, now: datetime) -> None:
    if not subscription.is_live or subscription.state == State.INCOMPLETE or subscription.past_due_at is not None:
        return
    subscription.past_due_at = now
    if subscription.state in (State.ACTIVE, State.TRIALING):
        subscription.state = State.PAST_DUE
    subscription.save(update_fields=["past_due_at", "state"])
    _note(subscription, Act.PAST_DUE, f"past_due:{collection.pk}", collection, now=now)


def _lapse(subscription: Subscription, collection: Collection, *, now: datetime) -> None:
    """Do what the dunning policy ends with. But for a pause the invoice is given up; money that comes settles it."""
    act = str(collection.policy.get("final_act") or "keep") if subscription.is_live else "keep"
    if subscription.state == State.INCOMPLETE:
        end.abandon(subscription, now=now)
        return
    plan_name, new_plan_name = subscription.plan_version.plan.name, ""
    if act == "pause":
        _pause(subscription, collection, now=now)
    else:
        settling.mark_uncollectible(invoice_id=collection.invoice_id, now=now)
        if act in ("cancel", "downgrade"):
            voided_invoices.take_back(collection.invoice, now=now)
            new_plan_name = _downgrade(subscription, collection, now=now) if act == "downgrade" else ""
            if not new_plan_name:
                act = "cancel"
                _end(subscription, f"{LAPSE}{collection.pk}", now=now)
        if subscription.is_live:
            _recover(subscription, collection, now=now)
    _tell_lapsed(subscription, collection, act, plan_name, new_plan_name, now=now)


def _pause(subscription: Subscription, collection: Collection, *, now: datetime) -> None:
    """No credit can be used, and nothing renews, until the invoice is paid. What was cancelled runs out all the same,
    and what its customer has paused is theirs to resume."""
    Account.objects.filter(pk=subscription.account_id).update(paused_at=now)
    if subscription.state == State.PAUSED:
        return
    if subscription.state != State.CANCELLED:
        subscription.state, subscription.paused_at = State.PAUSED, now
        subscription.save(update_fields=["state", "paused_at"])
    _note(subscription, Act.PAUSE, f"{LAPSE}{collection.pk}", collection, now=now)


def _downgrade(subscription: Subscription, collection: Collection, *, now: datetime) -> str:
    """Begin anew today with the plan that the policy names, or, what its customer has paused, once it is resumed; its
    name, or nothing where there is none to go down to, or the subscription is cancelled. A change that waited is
    withdrawn."""
    before, version = subscription.plan_version, _lower_version(subscription, collection, now=now)
    if version is None:
        return ""
    scheduled_change.withdraw(subscription, actor=history.SYSTEM, now=now)
    arrears = end.close_period(subscription, now=now)
    allocations.cancel(subscription, now=now)
    seats = subscription.seats
    subscription.plan_version = version
    terms = agreed.of(subscription, at=now)
    subscription.seats = max(terms.seats_included, min(seats, version.seats_max or seats))
    reference = f"{LAPSE}{collection.pk}"
    if subscription.state == State.PAUSED:
        invoice = subscription_invoices.bill(
            subscription, terms=terms, drafts=arrears.drafts, reference=reference, now=now
        )
        subscription.period_ends_at, subscription.next_due_at = min(subscription.period_ends_at, now), None
        subscription.save(update_fields=["plan_version", "seats", "period_ends_at", "next_due_at"])
    else:
        subscription.state = State.ACTIVE
        invoice = restart.start_afresh(
            subscription, terms=terms, arrears=arrears.drafts, reference=reference, now=now
        ).invoice
    overage.save(arrears, invoice)
    history.write(
        subscription,
        Act.CHANGE,
        reference=reference,
        at=now,
        actor=history.SYSTEM,
        from_version=before,
        to_version=version,
        from_seats=seats,
        to_seats=subscription.seats,
        invoice=invoice,
        details={"reason": "unpaid"},
    )
    return terms.plan_name


def _lower_version(subscription: Subscription, collection: Collection, *, now: datetime) -> PlanVersion | None:
    """The plan that the policy lets it go down to, if it may, and the plan is priced in its currency."""
    plan_id = collection.policy.get("downgrade_to")
    if not isinstance(plan_id, int) or subscription.state == State.CANCELLED:
        return None
    if plan_id == subscription.plan_version.plan_id:
        return None
    try:
        version = plans.get_newest_version(plan_id)
        agreed.resolve(
            account_id=subscription.account_id, version_id=version.pk, currency=subscription.currency, at=now
        )
    except (plans.NoSuchPlan, agreed.NoPrice):
        return None
    return version


def _end(subscription: Subscription, reference: str, *, now: datetime) -> None:
    end.end(subscription, at=now, reference=reference, actor=history.SYSTEM, reason="unpaid", is_told=False, now=now)


def _note(subscription: Subscription, act: str, reference: str, collection: Collection, *, now: datetime) -> None:
    history.write(subscription, act, reference=reference, at=now, actor=history.SYSTEM, invoice=collection.invoice)


def _tell_lapsed(
    subscription: Subscription, collection: Collection, act: str, plan_name: str, new_plan_name: str, *, now: datetime
) -> None:
    invoice = collection.invoice
    outbox.write(
        kind="subscription_lapsed",
        dedupe_key=f"subscription_lapsed:{collection.pk}",
        account_id=subscription.account_id,
        payload={
            "act": act,
            "plan_name": plan_name,
            "new_plan_name": new_plan_name,
            "invoice_id": str(invoice.pk),
            "number": invoice.number or "",
            "total": f"{round_money(invoice.total, invoice.currency):f}",
            "currency": invoice.currency,
        },
        now=now,
    )
