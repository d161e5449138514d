"""Filters that put credits and times into words."""

from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import timezone

from billing.api import ids
from billing.ledger.models import CreditPool, GrantKind, LedgerEntry, Posting
from billing.notifications import wording

register = template.Library()


@register.filter("credits")
def credits_filter(amount: Decimal | None) -> str:
    """12,345.67: for headlines and totals."""
    return "" if amount is None else wording.credits_text(amount)


@register.filter
def exact_credits(amount: Decimal, places: int = 0) -> str:
    """12,345.678901: for ledgers, where every digit counts; with at least `places` decimals."""
    return wording.exact_credits_text(amount, places)


@register.filter
def signed_credits(amount: Decimal, places: int = 0) -> str:
    """Exact, with its sign in front also when it is a plus."""
    text = wording.exact_credits_text(amount, places)
    return f"+{text}" if amount > 0 else text


@register.filter
def money(amount: Decimal, currency: str) -> str:
    """€1,200.00"""
    return wording.money_text(amount, currency)


@register.filter
def unit_price(price: Decimal, currency: str) -> str:
    """$0.0725: the price of one credit, with all its digits."""
    return wording.unit_price_text(price, currency)


@register.filter
def validity(days: int | None) -> str:
    """How long credits are good for: `1 year`, `for ever`."""
    return wording.validity_text(days)


@register.filter
def rough(amount: Decimal) -> str:
    """26.3 million: for estimates."""
    return wording.rough_text(amount)


@register.filter
def plural(noun: str) -> str:
    """A meter's unit for many."""
    return wording.plural(noun)


@register.filter
def days_off(moment: datetime, now: datetime) -> str:
    """`in 12 days`, by the calendar of the page's time zone."""
    return wording.days_off(moment, timezone.localtime(now))


@register.filter
def lot_id(entry: LedgerEntry) -> str:
    """The public id of the lot that a ledger entry is about."""
    return ids.encode(ids.GRANT, entry.grant_id)


@register.filter
def posting_title(posting: Posting) -> str:
    """What a posting is about, next to its act. Expects its entries to be prefetched."""
    if posting.act in (Posting.Act.GRANT, Posting.Act.EXPIRE, Posting.Act.REVOKE):
        kinds = ", ".join(sorted({str(entry.grant.get_kind_display()) for entry in posting.entries.all()}))
        return f"{kinds} for {posting.meter.name}" if posting.meter else kinds
    if posting.meter:
        return posting.meter.name
    if posting.act == Posting.Act.TRANSFER:
        return "from another pool" if posting.amount > 0 else "to another pool"
    if posting.act == Posting.Act.SPEND and posting.hold_id:
        return "captured from a hold"
    return ""


@register.filter
def drawn_summary(entries: list[LedgerEntry]) -> str:
    """How many lots a posting touched, as the summary of their list: `From 2 lots`."""
    count = len({entry.grant_id for entry in entries})
    lots = "1 lot" if count == 1 else f"{count} lots"
    if all(entry.amount > 0 for entry in entries):
        return f"Into {lots}"
    return f"From {lots}" if all(entry.amount < 0 for entry in entries) else f"Between {lots}"


@register.filter
def shared_places(postings: list[Posting]) -> int:
    """How many decimals write all amounts and balances of the postings exactly."""
    return max(
        (wording.decimals(figure) for posting in postings for figure in (posting.amount, posting.balance_after)),
        default=0,
    )


@register.filter
def kind_label(kind: str) -> str:
    """A lot's kind for people."""
    return str(GrantKind(kind).label)


@register.filter
def policy_in_words(pool: CreditPool) -> str:
    """What happens when the pool's credits run out."""
    if pool.policy == CreditPool.Policy.BURST:
        return f"Up to {wording.credits_text(pool.burst_limit)} more as overdraft, repaid from the next grant"
    if pool.policy == CreditPool.Policy.OVERAGE:
        if pool.overage_cap is None:
            return "Usage goes on and is invoiced afterwards"
        return f"Usage goes on and is invoiced afterwards, up to {wording.credits_text(pool.overage_cap)} a cycle"
    return "Charges are refused"
