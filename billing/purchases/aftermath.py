"""What becomes of a rule after a top-up succeeded, failed or could not be tried, and what its account is told.

Each runs under the rule's lock, in the caller's transaction.
"""

from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from billing.ledger.cycles import month_after
from billing.notifications import outbox
from billing.payments.models import PaymentMethod
from billing.purchases.models import TopUpRule

# After the n-th decline in a row the n-th gap passes; one decline more, and the rule switches itself off.
GAPS = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))


def note_success(rule: TopUpRule) -> None:
    """Forget earlier failures. The invoice's receipt has told of the credits."""
    rule.failures, rule.waits_until, rule.failed_method = 0, None, None
    rule.save(update_fields=["failures", "waits_until", "failed_method"])


def note_failure(
    rule: TopUpRule, *, method: PaymentMethod | None, reason: str, is_hard: bool, key: str, now: datetime
) -> None:
    """Wait longer after each failure in a row before the same card is tried again; after the last gap, or where another
    try is no use (`is_hard`), switch the rule off. Another card begins to count anew. Tells once per `key`."""
    if rule.failed_method_id != (method.pk if method is not None else None):
        rule.failures = 0
    rule.failures += 1
    rule.failed_method = method
    if is_hard or rule.failures > len(GAPS):
        note_switched_off(rule, reason=reason, now=now)
        return
    rule.waits_until = now + GAPS[rule.failures - 1]
    rule.save(update_fields=["failures", "waits_until", "failed_method"])
    payload = {"pool_name": rule.pool.name, "reason": reason, "waits_until": rule.waits_until.isoformat()}
    _tell(rule, "top_up_failed", key, payload, now=now)


def note_switched_off(rule: TopUpRule, *, reason: str, now: datetime) -> None:
    """Switch the rule off by itself, and tell why; only its owner switches it on again."""
    rule.is_active, rule.waits_until = False, None
    rule.switched_off_at, rule.switched_off_reason = now, reason[:200]
    rule.save(
        update_fields=[
            "failures",
            "failed_method",
            "waits_until",
            "is_active",
            "switched_off_at",
            "switched_off_reason",
        ]
    )
    payload = {"pool_name": rule.pool.name, "reason": reason}
    _tell(rule, "top_up_switched_off", f"{rule.pk}:{now.isoformat()}", payload, now=now)


def note_cap(rule: TopUpRule, *, now: datetime) -> None:
    """Let the rule rest until the next month of its account, and tell so once a month."""
    rule.capped_until = month_after(now, rule.pool.account.time_zone)
    rule.save(update_fields=["capped_until"])
    until = rule.capped_until.isoformat()
    reason = _("The most that the rule may buy in a month is reached.")
    payload = {"pool_name": rule.pool.name, "reason": reason, "waits_until": until, "is_capped": "yes"}
    _tell(rule, "top_up_failed", f"cap:{rule.pk}:{until}", payload, now=now)


def _tell(rule: TopUpRule, kind: str, key: str, payload: dict[str, str], *, now: datetime) -> None:
    outbox.write(kind=kind, dedupe_key=f"{kind}:{key}", account_id=rule.pool.account_id, payload=payload, now=now)
