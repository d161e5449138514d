"""Billing a subscription's account: an invoice of its lines and of what is pending, left to be collected, and told of.

The caller holds the subscription's lock; the issuer's row is locked last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings

from billing.catalog.models import DunningPolicy
from billing.catalog.pricing import round_money
from billing.invoicing import issuing
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import Invoice, InvoiceLine, PendingItem
from billing.notifications import outbox
from billing.notifications.models import Notification
from billing.payments import collecting, invoice_credits
from billing.payments.models import Collection
from billing.subscriptions.agreement.terms import Terms, dunning
from billing.subscriptions.models import Subscription


@dataclass(frozen=True, slots=True)
class Bill:
    """Lines to be invoiced to a subscription's account, under a reference."""

    subscription: Subscription
    terms: Terms
    drafts: Sequence[LineDraft]
    reference: str


def bill(
    subscription: Subscription, *, terms: Terms, drafts: Sequence[LineDraft], reference: str, now: datetime
) -> Invoice | None:
    """Issue an invoice of these lines and of what is pending, and have it collected and told of; None where there is
    nothing to bill. Locks the issuer's row."""
    return bill_many([Bill(subscription, terms, drafts, reference)], now=now)[0]


def bill_many(bills: Sequence[Bill], *, now: datetime) -> list[Invoice | None]:
    """`bill` for several at once, in their order."""
    invoices = _issue(bills, now=now)
    issued = [(each, invoice) for each, invoice in zip(bills, invoices, strict=True) if invoice is not None]
    policies: dict[int, dict[str, object]] = {}
    for each, _invoice in issued:
        if each.terms.version.pk not in policies:
            policies[each.terms.version.pk] = dunning(each.terms.version)
    with_balance = invoice_credits.with_balance(invoice.account_id for _each, invoice in issued) if issued else set()
    Collection.objects.bulk_create(
        collecting.new_collection(
            invoice=invoice,
            purpose=purpose_of(each.subscription),
            policy=_policy(each, policies[each.terms.version.pk]),
            method_id=each.subscription.method_id,
            is_automatic=_is_automatic(each.subscription),
            has_balance=invoice.account_id in with_balance,
            now=now,
        )
        for each, invoice in issued
    )
    outbox.write_many([_told(each, invoice, now=now) for each, invoice in issued])
    return invoices


def _policy(bill: Bill, policy: dict[str, object]) -> dict[str, object]:
    """How the invoice is dunned: what is billed last leaves no subscription that could end for want of payment."""
    if not bill.reference.startswith("final:"):
        return policy
    return {**policy, "final_act": DunningPolicy.FinalAct.KEEP.value, "downgrade_to": None}


def _issue(bills: Sequence[Bill], *, now: datetime) -> list[Invoice | None]:
    """The invoices: those that take pending items one by one, all others together."""
    accounts = {each.subscription.account_id for each in bills}
    open_items = PendingItem.objects.filter(account__in=accounts, invoice_line=None, cancelled_at=None)
    amounts: dict[tuple[int, str], list[Decimal]] = {}
    for account_id, currency, amount in open_items.values_list("account_id", "currency", "amount"):
        amounts.setdefault((account_id, currency), []).append(amount)
    invoices: list[Invoice | None] = [None] * len(bills)
    together = []
    for index, each in enumerate(bills):
        subscription = each.subscription
        pending = amounts.get((subscription.account_id, subscription.currency), [])
        if each.drafts and not pending:
            together.append(index)
        elif each.drafts or any(amount > 0 for amount in pending):
            invoices[index] = issuing.issue(
                account_id=subscription.account_id,
                reference=each.reference,
                currency=subscription.currency,
                lines=each.drafts,
                now=now,
                due_at=_due_at(subscription, now),
                take_pending=True,
            )
    orders = [
        issuing.Order(
            bills[index].subscription.account,
            bills[index].reference,
            bills[index].subscription.currency,
            bills[index].drafts,
            _due_at(bills[index].subscription, now),
        )
        for index in together
    ]
    for index, invoice in zip(together, issuing.issue_many(orders, now=now), strict=True):
        invoices[index] = invoice
    return invoices


def _is_automatic(subscription: Subscription) -> bool:
    return subscription.collection == Subscription.Collection.AUTOMATIC


def _due_at(subscription: Subscription, now: datetime) -> datetime | None:
    """When an invoice is due: what is charged at once, what is transferred by the subscription's terms of payment, or
    for None by the issuer's."""
    if _is_automatic(subscription):
        return now
    days = subscription.payment_terms_days
    return None if days is None else now + timedelta(days=days)


def purpose_of(subscription: Subscription) -> str:
    """What its collections are for, as they say it."""
    return f"subscription:{subscription.pk}"


def waits(subscription: Subscription, invoice: Invoice | None, *, is_asked: bool) -> bool:
    """Whether credits wait for an invoice to be paid: where it `is_asked` if a method is charged for it, and all of
    them if FLORIN_ALLOCATE_ON says so."""
    if invoice is None or invoice.state == Invoice.State.PAID:
        return False
    return (is_asked and _is_automatic(subscription)) or settings.FLORIN_ALLOCATE_ON == "payment"


def _told(bill: Bill, invoice: Invoice, *, now: datetime) -> Notification:
    subscription = bill.subscription
    period = (subscription.period_starts_at, subscription.period_ends_at)
    at_once = InvoiceLine.Recognition.AT_ONCE
    # Not so of what is billed for days of it, or in arrears only: neither credits nor another period come with that.
    is_whole = any((draft.starts_at, draft.ends_at) == period and draft.recognition != at_once for draft in bill.drafts)
    return Notification(
        kind="invoice_issued",
        dedupe_key=f"invoice_issued:{invoice.pk}",
        account_id=invoice.account_id,
        payload={
            "invoice_id": str(invoice.pk),
            "number": invoice.number or "",
            "total": f"{round_money(invoice.total, invoice.currency):f}",
            "currency": invoice.currency,
            "due_at": invoice.due_at.isoformat() if invoice.due_at else "",
            "plan_name": bill.terms.plan_name,
            "period_starts_at": subscription.period_starts_at.isoformat() if is_whole else "",
            "period_ends_at": subscription.period_ends_at.isoformat() if is_whole else "",
            "credits": f"{bill.terms.included(subscription.seats):f}" if is_whole else "",
            "is_automatic": "yes" if _is_automatic(subscription) else "",
        },
        created_at=now,
    )
