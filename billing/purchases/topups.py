"""Automatic top-up: finding pools that run low, buying for them, and following up what is under way.

A top-up is opened under its rule's lock, where everything is asked again: so however many look at once, one buys. Its
payment is collected outside of any transaction; until its outcome is known the top-up stays open and no other begins.
Locks: the rule's row, then the invoice's and what follows it.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import structlog
from django.db import transaction
from django.db.models import Count, Exists, Min, OuterRef, Q, Sum
from django.utils.translation import gettext as _

from billing.accounts import clocks
from billing.accounts.models import Account
from billing.invoicing import crediting, engines, issuing
from billing.invoicing.models import Invoice
from billing.ledger import balance
from billing.ledger.cycles import month_start
from billing.ledger.models import CreditGrant
from billing.payments import paying
from billing.payments.gateways import registry
from billing.payments.models import Payment, PaymentMethod
from billing.purchases import aftermath, offers
from billing.purchases.models import TopUp, TopUpRule
from billing.purchases.rules import (
    CapTooLow,
    RuleNotFound,
    ThresholdTooHigh,
    find_method,
    find_rule,
    list_due,
    save_rule,
    switch_off,
)

__all__ = [
    "CapTooLow", "RuleNotFound", "ThresholdTooHigh", "find_method", "find_rule", "list_due", "save_rule",
    "switch_off",
]  # fmt: skip

log = structlog.get_logger(__name__)

# For a fault of ours, so that it neither fills the log nor keeps other rules waiting.
FAULT_GAP = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did: top-ups opened, and of these and earlier ones how many ended in success or failure."""

    opened: int
    succeeded: int
    failed: int


def run_due(*, now: datetime, limit: int, account_id: int | None = None) -> Round:
    """Follow up top-ups under way, then top up the pools of at most `limit` rules that call for it.

    With `account_id` only that account's; without, what is on a test clock is left alone. Must run outside a
    transaction; any number may run at once. A fault with one rule is logged, and the others go on.
    """
    ended: Counter[str] = Counter()
    opened = 0
    for top_up_id in _list_settled(limit, account_id):
        ended[follow_up(top_up_id=top_up_id, now=now)] += 1
    for rule_id in list_due(now=now, limit=limit, account_id=account_id):
        try:
            top_up = _open_due(rule_id, now=now)
            if top_up is not None:
                opened += 1
                ended[_collect(top_up, now=now)] += 1
        # Whatever goes wrong with one rule must not keep the others from being served.
        except Exception:
            log.exception("top_up.fault", rule_id=rule_id)
            _wait(rule_id, now + FAULT_GAP)
    return Round(opened, ended[TopUp.State.SUCCEEDED], ended[TopUp.State.FAILED])


def next_due_at(*, after: datetime, account_id: int | None = None) -> datetime | None:
    """When, after a moment, a rule may call for a top-up next although nobody does anything: a pause after a failure or
    a reached cap ends, or credits of its pool do. Of one account, or for None of all that are on no test clock."""
    rules = clocks.narrow(TopUpRule.objects.filter(is_active=True), account_id=account_id, road="pool__account")
    lots = CreditGrant.objects.filter(is_open=True, remaining__gt=0, pool__in=rules.values("pool"))
    times = [
        rows.filter(**{f"{column}__gt": after}).aggregate(first=Min(column))["first"]
        for rows, column in ((rules, "waits_until"), (rules, "capped_until"), (lots, "expires_at"))
    ]
    return min((at for at in times if at is not None), default=None)


def _open_due(rule_id: int, *, now: datetime) -> TopUp | None:
    return engines.with_tax(lambda: open_top_up(rule_id=rule_id, now=now), now=now)


def open_top_up(*, rule_id: int, now: datetime) -> TopUp | None:
    """Begin a top-up if the rule, read under its lock, still calls for one: invoice and payment, not yet submitted.

    None: it does not. That a cap is reached, no card is there, or the pack is no longer sold, is written down and told.
    Raises tax.TaxNotPrepared; nothing is written then.
    """
    with transaction.atomic():
        rule = _lock(rule_id)
        if rule is None or not rule.is_active or rule.top_ups.filter(state=TopUp.State.OPEN).exists():
            return None
        account = rule.pool.account
        if balance.read(pool_id=rule.pool_id, now=now).available >= rule.threshold:
            return None
        method = find_method(account.pk, rule.method_id)
        if method is not None and not registry.is_reachable(method.gateway):
            method = None
        if rule.waits_until and now < rule.waits_until and _is_of_failure(rule, method):
            return None
        if method is None:
            reason, key = _("There is no card to pay with."), f"no-card:{rule.pk}:{now.isoformat()}"
            aftermath.note_failure(rule, method=None, reason=reason, is_hard=False, key=key, now=now)
            return None
        on = issuing.supply_date(account, now)
        try:
            cost = offers.quote(
                account=account, pack_id=rule.pack_id, credits=rule.credits, pool_id=rule.pool_id, on=on
            )
        except (offers.PackNotForSale, offers.AmountNotOffered):
            reason = _("The pack is no longer sold in this amount.")
            aftermath.note_switched_off(rule, reason=reason, now=now)
            return None
        if _exceeds_caps(rule, cost.total, now):
            aftermath.note_cap(rule, now=now)
            return None
        return _open(rule, account, method, cost, now=now)


def _open(
    rule: TopUpRule, account: Account, method: PaymentMethod, cost: offers.PurchaseQuote, *, now: datetime
) -> TopUp:
    reference = f"top-up:{rule.pk}:{rule.top_ups.count() + 1}"
    draft = offers.line_draft(cost.offer, account=account, credits=rule.credits, pool_id=rule.pool_id)
    invoice = issuing.issue(
        account_id=account.pk, reference=reference, currency=cost.currency, lines=[draft], now=now, due_at=now,
        asks_transfer=False,
    )  # fmt: skip
    top_up = TopUp.objects.create(rule=rule, invoice=invoice, month=_month(account, now), created_at=now)
    if invoice.state == Invoice.State.OPEN:
        paying.start(invoice_id=invoice.pk, method_id=method.pk, key=reference, off_session=True, now=now)
    return top_up


def _collect(top_up: TopUp, *, now: datetime) -> str:
    """Submit the top-up's payment, and see what became of it."""
    payment = top_up.invoice.payments.first()
    if payment is not None:
        paying.submit(payment_id=payment.pk, return_url="", now=now)
    return follow_up(top_up_id=top_up.pk, now=now)


def follow_up(*, top_up_id: int, now: datetime) -> str:
    """Close an open top-up whose payment has come to an end, tell the customer, and return its state.

    One that failed leaves a void invoice: nobody owes it, and the next try has one of its own.
    """
    rule_id = TopUp.objects.values_list("rule_id", flat=True).get(pk=top_up_id)
    with transaction.atomic():
        rule = _lock(rule_id)
        top_up = TopUp.objects.get(pk=top_up_id)
        if rule is None or top_up.state != TopUp.State.OPEN:
            return top_up.state
        invoice = Invoice.objects.select_for_update().get(pk=top_up.invoice_id)
        payment = invoice.payments.select_related("method").order_by("-pk").first()
        if invoice.state == Invoice.State.PAID:
            _close(top_up, TopUp.State.SUCCEEDED, now)
            aftermath.note_success(rule)
        elif payment is None or payment.state not in Payment.LIVE:
            crediting.void(invoice_id=invoice.pk, now=now)
            _close(top_up, TopUp.State.FAILED, now)
            aftermath.note_failure(
                rule,
                method=payment.method if payment is not None else None,
                reason=(payment.failure_message if payment is not None else "") or _("The payment failed."),
                is_hard=payment is not None and payment.failure_is_hard,
                key=str(top_up.pk),
                now=now,
            )
        return top_up.state


def _list_settled(limit: int, account_id: int | None) -> list[int]:
    """Open top-ups whose payment is no longer under way."""
    live = Payment.objects.filter(invoice=OuterRef("invoice"), state__in=Payment.LIVE)
    rows = TopUp.objects.filter(~Exists(live), state=TopUp.State.OPEN)
    rows = clocks.narrow(rows, account_id=account_id, road="rule__pool__account")
    return list(rows.order_by("pk").values_list("pk", flat=True)[:limit])


def _lock(rule_id: int) -> TopUpRule | None:
    rules = TopUpRule.objects.select_for_update(no_key=True, of=("self",)).select_related("pool__account")
    return rules.filter(pk=rule_id).first()


def _close(top_up: TopUp, state: TopUp.State, now: datetime) -> None:
    top_up.state, top_up.finished_at = state, now
    top_up.save(update_fields=["state", "finished_at"])


def _month(account: Account, now: datetime) -> date:
    return month_start(now, account.time_zone).astimezone(ZoneInfo(account.time_zone)).date()


def _exceeds_caps(rule: TopUpRule, total: Decimal, now: datetime) -> bool:
    """Whether one more of this price would go beyond what the rule allows in the account's month."""
    counted = rule.top_ups.filter(~Q(state=TopUp.State.FAILED), month=_month(rule.pool.account, now))
    so_far = counted.aggregate(count=Count("pk"), money=Sum("invoice__total", default=Decimal(0)))
    return bool(so_far["count"] >= rule.max_count or so_far["money"] + total > rule.max_money)


def _is_of_failure(rule: TopUpRule, method: PaymentMethod | None) -> bool:
    """Whether it is the card that failed last, so that another try with it must wait."""
    return rule.failed_method_id == (method.pk if method is not None else None)


def _wait(rule_id: int, until: datetime) -> None:
    with transaction.atomic():
        rule = _lock(rule_id)
        if rule is not None:
            rule.waits_until = until
            rule.failed_method = find_method(rule.pool.account_id, rule.method_id)
            rule.save(update_fields=["waits_until", "failed_method"])
