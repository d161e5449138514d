"""The end of a subscription: its arrears billed, its promises taken back, the account's pools on their own again.

Locks: the subscription's row, then its invoice's or its pools', then the issuer's.
"""

from datetime import datetime

from billing.catalog import rate_cards
from billing.invoicing import crediting
from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.notifications import outbox
from billing.payments import paying
from billing.subscriptions import history
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.charges import coupons, overage, subscription_invoices
from billing.subscriptions.charges.overage import Arrears
from billing.subscriptions.credits import allocations
from billing.subscriptions.lifecycle import scheduled_change
from billing.subscriptions.models import Subscription, SubscriptionChange

State = Subscription.State


def end(
    subscription: Subscription,
    *,
    at: datetime,
    reference: str,
    actor: str,
    reason: str = "",
    is_told: bool = True,
    now: datetime,
) -> Invoice | None:
    """End a subscription as of `at`, by `now` or earlier, and bill what is in arrears (`final:<id>`); that invoice.

    The minimum is billed for the days up to then; nothing goes back. Credits that were granted stay until they expire,
    those still promised are not granted. From now on the main pool refuses what it has no credits for. The account is
    told, unless the caller does. The caller holds the subscription's lock. Locks all pools of the account, then the
    issuer's row.
    """
    terms = agreed.of(subscription, at=subscription.period_starts_at)
    invoice = settle_up(subscription, reference=f"final:{subscription.pk}", now=now)
    _close(subscription, actor=actor, now=now)
    rate_cards.set_plan_card(account_id=subscription.account_id, rate_card_id=None, starts_at=now)
    history.write(
        subscription,
        SubscriptionChange.Act.END,
        reference=reference,
        at=at,
        actor=actor,
        from_version=terms.version,
        invoice=invoice,
        details={"reason": reason} if reason else {},
    )
    if is_told:
        outbox.write(
            kind="subscription_ended",
            dedupe_key=f"subscription_ended:{subscription.pk}",
            account_id=subscription.account_id,
            payload={"plan_name": terms.plan_name, "ends_at": at.isoformat()},
            now=now,
        )
    return invoice


def settle_up(subscription: Subscription, *, reference: str, now: datetime) -> Invoice | None:
    """Close the subscription's period, and bill what is in arrears on an invoice of that reference."""
    terms = agreed.of(subscription, at=subscription.period_starts_at)
    arrears = close_period(subscription, now=now)
    invoice = subscription_invoices.bill(subscription, terms=terms, drafts=arrears.drafts, reference=reference, now=now)
    overage.save(arrears, invoice)
    return invoice


def close_period(subscription: Subscription, *, now: datetime) -> Arrears:
    """Let the account's pools stand alone from now on, and say what is in arrears up to now: overage, and the minimum
    for the days before today. The caller bills it, then saves it (`overage.save`). Locks all pools of the account."""
    pools.clear_terms(account_id=subscription.account_id, now=now)
    return overage.bill(subscription, overage.find_lots(subscription), before=now, closes=True, now=now)


def abandon(subscription: Subscription, *, now: datetime) -> bool:
    """End a subscription whose first invoice was not paid, and void that; False, and nothing is changed, where it is
    paid or a payment is under way. The caller holds the subscription's lock. Locks the invoice's row."""
    period = subscription.periods.select_related("invoice").order_by("number").first()
    if period is not None and period.invoice_id is not None:
        invoice = Invoice.objects.select_for_update().get(pk=period.invoice_id)
        is_paid = invoice.state == Invoice.State.PAID or invoice.amount_paid
        if is_paid or paying.find_under_way(invoice.pk) is not None:
            return False
        crediting.void(invoice_id=invoice.pk, now=now)
    coupons.give_back(subscription, now=now)
    _close(subscription, actor=history.SYSTEM, now=now)
    history.write(
        subscription,
        SubscriptionChange.Act.END,
        reference=f"abandon:{subscription.pk}",
        at=now,
        actor=history.SYSTEM,
        from_version=subscription.plan_version,
        details={"reason": "unpaid"},
    )
    return True


def _close(subscription: Subscription, *, actor: str, now: datetime) -> None:
    allocations.cancel(subscription, now=now)
    scheduled_change.withdraw(subscription, actor=actor, now=now)
    subscription.state, subscription.ended_at, subscription.next_due_at = State.ENDED, now, None
    # There is nothing left to release.
    subscription.parked_at = None
    subscription.save(update_fields=["state", "ended_at", "next_due_at", "parked_at"])
