"""What choosing a plan would do, as its page says it before anything is done. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.catalog.plan_words import NOTHING
from billing.invoicing.lines import Quote, QuotedLine
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.lifecycle.changes import ChangePreview, When
from billing.subscriptions.lifecycle.subscribing import SubscribePreview
from billing.subscriptions.models import ScheduledChange
from billing.wording.amounts import credits_text, money_text, percent_text
from portal.plans.forms import seen_text
from portal.plans.wording import Row, compare, has_seats, per_text, trial_limit_text

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Sheet:
    """The price of choosing a plan. `total` is charged today for the `lines`, with the `taxes` of each rate; `credit`
    goes back on later invoices. `seen` is all of it as the form carries it along."""

    currency: str
    total: Decimal
    credit: Decimal
    lines: Sequence[QuotedLine]
    taxes: list[tuple[str, Decimal]]
    tax_note: str
    facts: list[tuple[str, str]]
    seen: str
    button: str


def sheet_to_subscribe(preview: SubscribePreview) -> Sheet:
    """What subscribing would do."""
    terms, quote, price = preview.terms, preview.quote, preview.price
    total = quote.total if quote else ZERO
    facts: list[tuple[str, str]] = []
    if preview.trial_ends_at is not None:
        facts.append((_("Free until"), _day(preview.trial_ends_at)))
        facts.append((_("Until then"), trial_limit_text(terms.version)))
        facts.append((_("Then"), _price_text(price, terms, preview.after_coupons)))
    else:
        facts.append((_("Next invoice"), _day(preview.ends_at)))
        if preview.after_coupons is not None:
            facts.append((_("After the discount"), _price_text(preview.after_coupons, terms)))
    if preview.credits:
        credits = credits_text(preview.credits)
        facts.append((_("Credits"), _("%(credits)s, as soon as it begins") % {"credits": credits}))
    name = {"plan": terms.plan_name}
    if preview.trial_ends_at is not None:
        button = _("Start the free trial")
    elif total:
        button = _("Pay %(money)s and subscribe") % {"money": money_text(total, terms.currency)}
    else:
        button = _("Subscribe to %(plan)s") % name
    return Sheet(
        currency=terms.currency,
        total=total,
        credit=ZERO,
        lines=quote.lines if quote else (),
        taxes=taxes_of(quote),
        tax_note=price.tax_note if price else "",
        facts=facts,
        seen=seen_text(price.total if price else ZERO, terms.currency, preview.trial_ends_at is not None),
        button=button,
    )


def _price_text(price: Quote | None, terms: Terms, later: Quote | None = None) -> str:
    """What a period costs, and what it costs `later`, when discounts have ended."""
    if price is None:
        return _("nothing in advance")
    text = f"{money_text(price.total, terms.currency)} {per_text(terms.version)}"
    if later is not None:
        after = {"price": text, "later": money_text(later.total, terms.currency)}
        text = _("%(price)s until the discount ends, then %(later)s") % after
    return _("%(price)s, tax included") % {"price": text} if (later or price).tax_total else text


def _day(at: datetime) -> str:
    return date_format(localtime(at), "j F Y")


def sheet_to_change(preview: ChangePreview, terms: Terms, *, current: Terms, is_manual: bool) -> Sheet:
    """What a change from the `current` terms to others would do. `is_manual`: it is invoiced, nothing is charged."""
    quote, total, currency = preview.quote, preview.total, preview.currency
    withdrawn = preview.withdraws.pk if preview.withdraws is not None else ""
    is_now = preview.when == When.NOW
    facts = [
        (_("Takes effect"), _("today, at once") if is_now else _day(preview.effective_at)),
        (_("From then on"), _price_text(preview.renewal, terms, preview.after_coupons)),
    ]
    if current.is_agreed and not terms.is_agreed:
        text = _("The terms agreed with you are for %(plan)s; %(new)s costs its list price.")
        facts.append((_("Your contract"), text % {"plan": current.plan_name, "new": terms.plan_name}))
    if is_now:
        facts.append((_("Next invoice"), _day(preview.period_ends_at)))
    if preview.credits_delta:
        change = {"credits": credits_text(abs(preview.credits_delta))}
        if is_now:
            text = _("%(credits)s more at once") if preview.credits_delta > 0 else _("%(credits)s fewer from now on")
        else:
            text = _("%(credits)s more each time") if preview.credits_delta > 0 else _("%(credits)s fewer each time")
        facts.append((_("Credits"), text % change))
    if preview.credit:
        money = {"money": money_text(abs(preview.credit), currency)}
        text = _("%(money)s before tax, taken off your next invoices")
        if terms.version.prices_include_tax:
            text = _("%(money)s with tax, taken off your next invoices")
        facts.append((_("In your favour"), text % money))
    if preview.credited:
        money = {"money": money_text(preview.credited, currency)}
        facts.append(
            (
                _("Credited"),
                _("%(money)s for unused time, with the tax you were charged: it pays your invoices first") % money,
            )
        )
    if preview.withdraws is not None:
        facts.append((_("Withdrawn by this"), withdrawn_text(preview.withdraws)))
    if total:
        money = {"money": money_text(total, currency)}
        button = _("Change now, with an invoice for %(money)s") if is_manual else _("Pay %(money)s and change now")
        button = button % money
    elif is_now:
        button = _("Change now")
    else:
        button = _("Change on %(day)s") % {"day": _day(preview.effective_at)}
    return Sheet(
        currency=currency,
        total=total,
        credit=preview.credit,
        lines=quote.lines if quote else (),
        taxes=taxes_of(quote),
        tax_note=quote.tax_note if quote else "",
        facts=facts,
        seen=seen_text(total, currency, preview.credit, preview.credited, preview.when, preview.seats, withdrawn),
        button=button,
    )


def withdrawn_text(waiting: ScheduledChange) -> str:
    """That a planned change will be withdrawn by what is about to be done."""
    day = {"day": _day(waiting.subscription.period_ends_at)}
    if waiting.plan_version_id != waiting.subscription.plan_version_id:
        name = waiting.plan_version.plan.name
        return _("The change to %(plan)s planned for %(day)s will be withdrawn.") % {"plan": name, **day}
    text = ngettext(
        "The change to %(seats)d seat planned for %(day)s will be withdrawn.",
        "The change to %(seats)d seats planned for %(day)s will be withdrawn.",
        waiting.seats,
    )
    return text % {"seats": waiting.seats, **day}


def taxes_of(quote: Quote | None) -> list[tuple[str, Decimal]]:
    """The tax of a quote by its name and rate, `VAT 19 %`."""
    sums: dict[str, Decimal] = {}
    for line in quote.lines if quote else ():
        if line.tax_percent:
            name = f"{line.tax_name or _('Tax')} {percent_text(line.tax_percent)}"
            sums[name] = sums.get(name, ZERO) + line.tax_amount
    return sorted(sums.items())


def rows_of_change(old: Terms, old_seats: int, new: Terms, new_seats: int, *, only_seats: bool) -> list[Row]:
    """Both sides question by question, with what a period of each costs in advance with its seats; for a change of
    seats, only what depends on them."""
    rows = [] if only_seats else [Row(_("Plan"), [old.plan_name, new.plan_name]), *compare([old, new])]
    sides = ((old, old_seats), (new, new_seats))
    if has_seats(old) or has_seats(new):
        rows.append(Row(_("Your seats"), [str(seats) if has_seats(terms) else NOTHING for terms, seats in sides]))
        rows.append(Row(_("Fee with them"), [_with_seats(terms, seats) for terms, seats in sides]))
        if old.version.credits_per_seat or new.version.credits_per_seat:
            rows.append(Row(_("Credits with them"), [credits_text(terms.included(seats)) for terms, seats in sides]))
    return rows


def _with_seats(terms: Terms, seats: int) -> str:
    fee = terms.fee + terms.seat_price * terms.extra_seats(seats)
    return f"{money_text(fee, terms.currency)} {per_text(terms.version)}"
