"""Top-up rules: saving and switching off, and finding those that are due. Locks: the rule's row."""

from datetime import datetime
from decimal import Decimal

from django.db import connection, transaction

from billing.accounts.models import Account
from billing.invoicing import engines, issuing
from billing.payments import methods
from billing.payments.models import PaymentMethod
from billing.purchases import offers
from billing.purchases.models import TopUpRule


class ThresholdTooHigh(Exception):
    """One top-up would not lift an empty pool above the threshold, so one would follow the other. `credits`: of one."""

    def __init__(self, credits: Decimal) -> None:
        super().__init__(f"the threshold must be below {credits} credits")
        self.credits = credits


class CapTooLow(Exception):
    """The month's cap does not pay for one top-up. `total` is what one costs, tax included, in `currency`."""

    def __init__(self, total: Decimal, currency: str) -> None:
        super().__init__(f"one top-up costs {total} {currency}")
        self.total = total
        self.currency = currency


class RuleNotFound(LookupError):
    """The pool has no top-up rule."""


def save_rule(
    *,
    account: Account,
    pool_id: int,
    threshold: Decimal,
    pack_id: int,
    credits: Decimal,
    method_id: int | None,
    max_count: int,
    max_money: Decimal,
    now: datetime,
) -> TopUpRule:
    """Let a pool buy `credits` of a pack by itself whenever fewer than `threshold` are available; make or change its
    rule, and switch it on. What failed before is forgotten.

    `method_id` None: the account's default at the time. At most `max_count` top-ups and `max_money` (tax included) a
    calendar month. Raises offers.PackNotForSale, AmountNotOffered or PoolNotFound, methods.MethodNotUsable,
    ThresholdTooHigh, CapTooLow or tax.TaxUnavailable; nothing is written then. Must run outside a transaction.
    """
    on = issuing.supply_date(account, now)
    cost = engines.with_tax(
        lambda: offers.quote(account=account, pack_id=pack_id, credits=credits, pool_id=pool_id, on=on), now=now
    )
    if find_method(account.pk, method_id) is None:
        raise methods.MethodNotUsable
    if threshold >= credits:
        raise ThresholdTooHigh(credits)
    if max_money < cost.total:
        raise CapTooLow(cost.total, cost.currency)
    terms = {
        "threshold": threshold, "pack_id": pack_id, "credits": credits, "method_id": method_id, "max_count": max_count,
        "max_money": max_money, "is_active": True, "failures": 0, "waits_until": None, "failed_method": None,
        "capped_until": None, "switched_off_at": None, "switched_off_reason": "", "changed_at": now,
    }  # fmt: skip
    rule, _ = TopUpRule.objects.update_or_create(pool_id=pool_id, defaults=terms)
    return rule


def switch_off(*, account_id: int, pool_id: int, now: datetime) -> TopUpRule:
    """Let the pool buy nothing any more; a top-up under way is still followed up. Raises RuleNotFound."""
    with transaction.atomic():
        rules = TopUpRule.objects.select_for_update(no_key=True, of=("self",))
        rule = rules.filter(pool_id=pool_id, pool__account=account_id).first()
        if rule is None:
            raise RuleNotFound(pool_id)
        rule.is_active, rule.changed_at = False, now
        rule.save(update_fields=["is_active", "changed_at"])
        return rule


def find_rule(*, account_id: int, pool_id: int) -> TopUpRule | None:
    """The rule of one of the account's pools, if it has one."""
    rules = TopUpRule.objects.select_related("pool", "pack", "method")
    return rules.filter(pool_id=pool_id, pool__account=account_id).first()


def find_method(account_id: int, method_id: int | None) -> PaymentMethod | None:
    """The account's payment method of this id, or for None its default, unless it has been removed."""
    if method_id is None:
        return methods.find_default(account_id)
    return PaymentMethod.objects.filter(pk=method_id, account=account_id, removed_at=None).first()


def list_due(*, now: datetime, limit: int, account_id: int | None = None) -> list[int]:
    """Primary keys of rules that call for a top-up now, in order: one statement, no locks.

    Active ones of accounts neither parked nor paused, with fewer credits available than their threshold (L5, as
    `balance.read` counts them), no top-up under way, no cap reached, and no decline of the same card to wait for.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"now": now, "limit": limit, "account": account_id})
        return [pk for (pk,) in cursor.fetchall()]


# What holds past their end reserve is free; overdraft is repaid from general credits, never from those of a meter.
_DUE = """
SELECT r.id
FROM billing_topuprule r
JOIN billing_creditpool p ON p.id = r.pool_id
JOIN billing_account a ON a.id = p.account_id
LEFT JOIN billing_paymentmethod m ON m.account_id = a.id AND m.removed_at IS NULL
    AND CASE WHEN r.method_id IS NULL THEN m.is_default ELSE m.id = r.method_id END
CROSS JOIN LATERAL (
    SELECT coalesce(sum(free) FILTER (WHERE meter_id IS NULL), 0) AS general,
           coalesce(sum(free) FILTER (WHERE meter_id IS NOT NULL), 0) AS scoped
    FROM (
        SELECT g.meter_id, g.remaining - g.held + coalesce((
            SELECT sum(l.amount - l.captured) FROM billing_holdline l JOIN billing_hold h ON h.id = l.hold_id
            WHERE l.grant_id = g.id AND g.held > 0 AND h.state = 'open' AND h.expires_at <= %(now)s
        ), 0) AS free
        FROM billing_creditgrant g
        WHERE g.pool_id = p.id AND g.is_open AND g.kind NOT IN ('overage', 'overdraft')
            AND g.effective_at <= %(now)s AND (g.expires_at IS NULL OR g.expires_at > %(now)s)
    ) lots
) credits
WHERE CASE WHEN %(account)s::bigint IS NULL THEN a.clock_at IS NULL ELSE a.id = %(account)s END
    AND r.is_active AND a.parked_at IS NULL AND a.paused_at IS NULL
    AND (r.capped_until IS NULL OR r.capped_until <= %(now)s)
    AND (r.waits_until IS NULL OR r.waits_until <= %(now)s OR m.id IS DISTINCT FROM r.failed_method_id)
    AND NOT EXISTS (SELECT 1 FROM billing_topup t WHERE t.rule_id = r.id AND t.state = 'open')
    AND credits.scoped + greatest(credits.general - p.overdraft, 0) < r.threshold
ORDER BY r.id
LIMIT %(limit)s
"""
