"""Filters that put credits and times into words."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from django import template
from django.template.context import Context
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.accounts import ids
from billing.invoicing import transfers
from billing.invoicing.models import InvoiceLine
from billing.ledger.models import CreditGrant, CreditPool, GrantKind, LedgerEntry, Posting
from billing.ledger.pool_state import DEBT_KINDS
from billing.wording import amounts, times
from portal import charts

register = template.Library()


@register.simple_tag(takes_context=True)
def page_url(context: Context, name: str, **parts: object) -> str:
    """Where the page `name` of the visited account is."""
    return str(context["visit"].url(name, **parts))


@register.filter("credits")
def credits_filter(amount: Decimal | None) -> str:
    """12,345.67: for headlines and totals."""
    return "" if amount is None else amounts.credits_text(amount)


@register.filter
def iban(number: str) -> str:
    """A bank account in groups of four, as people read it."""
    return transfers.spaced(number)


@register.filter
def exact_credits(amount: Decimal, places: int = 0) -> str:
    """12,345.678901: for ledgers, where every digit counts; with at least `places` decimals."""
    return amounts.exact_credits_text(amount, places)


@register.filter
def signed_credits(amount: Decimal, places: int = 0) -> str:
    """Exact, with its sign in front also when it is a plus."""
    text = amounts.exact_credits_text(amount, places)
    return f"+{text}" if amount > 0 else text


@register.filter
def signed(amount: Decimal) -> str:
    """+12,345.67: an amount as in headlines, with its sign in front also when it is a plus."""
    text = amounts.credits_text(amount)
    return f"+{text}" if amount > 0 else text


@register.filter
def number(count: int) -> str:
    """12,345: a count of things."""
    return f"{count:,}"


@register.filter
def money(amount: Decimal, currency: str) -> str:
    """€1,200.00"""
    return amounts.money_text(amount, currency)


@register.filter
def unit_price(price: Decimal, currency: str) -> str:
    """$0.0725: the price of one credit, with all its digits."""
    return amounts.unit_price_text(price, currency)


@register.filter
def service_time(line: InvoiceLine) -> str:
    """`1 Nov to 30 Nov 2026`: the days that an invoice's line is for, both included; empty for what has no time."""
    if line.starts_at is None or line.ends_at is None:
        return ""
    first = timezone.localtime(line.starts_at)
    last = max(first, timezone.localtime(line.ends_at) - timedelta(microseconds=1))
    if first.date() == last.date():
        return date_format(first, "j M Y")
    begins = date_format(first, "j M" if first.year == last.year else "j M Y")
    return _("%(first)s to %(last)s") % {"first": begins, "last": date_format(last, "j M Y")}


@register.filter
def percent(rate: Decimal) -> str:
    """19%, 7.7%: a rate that was set."""
    return amounts.percent_text(rate)


@register.filter
def share(percent: Decimal | int) -> str:
    """75%, <1%: a share that was worked out."""
    return amounts.share_text(Decimal(percent))


@register.inclusion_tag("components/meter.html")
def meter(part: Decimal, whole: Decimal, label: str, text: str, empty: str = "") -> dict[str, object]:
    """How much of a whole is used, as a bar with the marks at which people are warned. `text` says it in numbers,
    `empty` what stands there when there is no whole."""
    return {
        "meter": charts.meter_of(part, whole),
        "label": label,
        "text": text,
        "empty": empty,
        "marks": charts.WARNINGS,
    }


@register.inclusion_tag("components/meter.html")
def progress(part: Decimal, whole: Decimal, label: str, text: str) -> dict[str, object]:
    """How much of something has passed, as a bar that warns of nothing."""
    drawn = replace(charts.meter_of(Decimal(part), Decimal(whole)), tone="plain")
    return {"meter": drawn, "label": label, "text": text, "marks": ()}


@register.filter
def card_number(digits: str) -> str:
    """4242 4242 4242 4242: in groups, as on a card."""
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


@register.filter
def plain_number(amount: Decimal) -> str:
    """1000: for addresses and number fields."""
    return f"{amount.normalize():f}"


@register.filter
def validity(days: int | None) -> str:
    """How long credits are good for: `1 year`, `no expiry`."""
    return times.validity_text(days)


@register.filter
def rough(amount: Decimal) -> str:
    """26.3 million: for estimates."""
    return amounts.rough_text(amount)


@register.filter
def plural(noun: str) -> str:
    """A meter's unit for many."""
    return amounts.plural(noun)


@register.filter
def days_off(moment: datetime, now: datetime) -> str:
    """`in 12 days`, by the calendar of the page's time zone."""
    return times.days_off(moment, timezone.localtime(now))


@register.filter
def is_day_past(moment: datetime, now: datetime) -> bool:
    """Whether the day of a moment is over, by the calendar of the page's time zone: what is due on a day is overdue
    when that day has passed."""
    return timezone.localdate(moment) < timezone.localdate(now)


@register.filter
def lot_id(entry: LedgerEntry) -> str:
    """The public id of the lot that a ledger entry is about."""
    return ids.encode(ids.GRANT, entry.grant_id)


@register.filter
def posting_title(posting: Posting) -> str:
    """What a posting is about, next to its act. Expects its entries to be prefetched, or its `kinds` annotated."""
    if posting.act in (Posting.Act.GRANT, Posting.Act.EXPIRE, Posting.Act.REVOKE):
        annotated: list[str] | None = getattr(posting, "kinds", None)
        kinds = {entry.grant.kind for entry in posting.entries.all()} if annotated is None else set(annotated)
        names = ", ".join(sorted(kind_label(kind) for kind in kinds))
        return _("%(kinds)s for %(meter)s") % {"kinds": names, "meter": posting.meter} if posting.meter else names
    if posting.meter:
        return posting.meter.name
    if posting.act == Posting.Act.TRANSFER:
        return _("from another pool") if posting.amount > 0 else _("to another pool")
    if posting.act == Posting.Act.SPEND and posting.hold_id:
        return _("captured from a hold")
    return ""


@register.filter
def drawn_summary(entries: list[LedgerEntry]) -> str:
    """How many lots a posting touched, as the summary of their list: `From 2 lots`."""
    changes: dict[int, Decimal] = {}
    for entry in entries:
        changes[entry.grant_id] = changes.get(entry.grant_id, Decimal(0)) + entry.amount
    count = len(changes)
    if all(change > 0 for change in changes.values()):
        text = ngettext("Into %(count)s lot", "Into %(count)s lots", count)
    # Overage is a lot too, filled and spent at once.
    elif all(change <= 0 for change in changes.values()):
        text = ngettext("From %(count)s lot", "From %(count)s lots", count)
    else:
        text = ngettext("Between %(count)s lot", "Between %(count)s lots", count)
    return text % {"count": count}


@register.filter
def lot_facts(lot: CreditGrant, now: datetime) -> list[str]:
    """What tells a lot from others as of the account's `now`: what it is for, until when it is good, what a credit of
    it cost."""
    facts = [_("%(meter)s only") % {"meter": lot.meter.name}] if lot.meter else []
    if lot.kind in DEBT_KINDS:
        return facts
    if lot.expires_at:
        day = date_format(timezone.localtime(lot.expires_at), "j M Y")
        facts.append((_("expired %(day)s") if lot.expires_at <= now else _("expires %(day)s")) % {"day": day})
    else:
        facts.append(_("never expires"))
    if lot.cost_basis:
        facts.append(_("%(price)s a credit") % {"price": amounts.unit_price_text(lot.cost_basis, lot.currency)})
    else:
        facts.append(_("free of charge"))
    return facts


@register.filter
def at(values: Mapping[int, Decimal], key: int) -> Decimal:
    """What stands under a key."""
    return values[key]


@register.filter
def moved(posting: Posting) -> Decimal:
    """What a posting used or gave back, with its sign; for other acts, the change of the balance. A spend that outran
    the credits moves more than the balance shows."""
    if posting.act == Posting.Act.SPEND:
        return -posting.credits
    return posting.credits if posting.act == Posting.Act.REVERSE else posting.amount


@register.filter
def beyond(posting: Posting) -> Decimal:
    """How much of a spend, or of its reversal, was overage or overdraft: the balance did not have it."""
    return abs(moved(posting)) - abs(posting.amount) if posting.act in ("spend", "reverse") else Decimal(0)


@register.filter
def size_of(amount: Decimal) -> Decimal:
    """The amount without its sign."""
    return abs(amount)


@register.filter
def shared_places(postings: list[Posting]) -> int:
    """How many decimals write all amounts and balances of the postings exactly."""
    return max(
        (amounts.decimals(figure) for posting in postings for figure in (moved(posting), posting.balance_after)),
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
        return _("You can go %(credits)s below zero; your next credits cover it") % {
            "credits": amounts.credits_text(pool.burst_limit)
        }
    if pool.policy == CreditPool.Policy.OVERAGE:
        if pool.overage_cap is None:
            return _("Usage continues and is invoiced afterwards")
        return _("Usage continues and is invoiced afterwards, up to %(credits)s a cycle") % {
            "credits": amounts.credits_text(pool.overage_cap)
        }
    return _("Requests are blocked")
