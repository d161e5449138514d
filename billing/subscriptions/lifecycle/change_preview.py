"""What a change of plan or seats would do, worked out once: the preview tells it, the act does it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from billing.catalog import plans
from billing.catalog.models import PlanVersion
from billing.invoicing import issuing, pending
from billing.invoicing.lines import LineDraft, Quote, draft_of
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine
from billing.payments.models import Collection, Dispute
from billing.subscriptions import guards
from billing.subscriptions.agreement import plans_on_offer
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.agreement.terms import NoPrice
from billing.subscriptions.charges import (
    change_prices,
    coupons,
    fee_lines,
    overage,
    period_quotes,
    proration,
    subscription_invoices,
)
from billing.subscriptions.charges.change_prices import Side
from billing.subscriptions.charges.period_quotes import PeriodQuotes
from billing.subscriptions.charges.proration import Cut
from billing.subscriptions.credits import change_credits
from billing.subscriptions.lifecycle import restart, scheduled_change, unused_refund
from billing.subscriptions.lifecycle.subscribing import PlanNotOffered, SeatsNotOffered
from billing.subscriptions.models import ContractTerms, ScheduledChange, Subscription, SubscriptionPeriod

ZERO, ONE = Decimal(0), Decimal(1)
State = Subscription.State
CHANGEABLE = (State.TRIALING, State.ACTIVE, State.PAST_DUE)

# Collections of invoices whose money a bank has taken back, and not given back again.
DISPUTED = Q(
    invoice__payments__disputes__taken_back_at__isnull=False,
    invoice__payments__disputes__state__in=(Dispute.State.OPEN, Dispute.State.LOST),
)


class When(StrEnum):
    """When a change takes effect."""

    NOW = "now"
    PERIOD_END = "period_end"


class CurrencyFixed(Exception):
    """A subscription keeps its `currency`: another was asked for, or the plan has no price in it."""

    def __init__(self, currency: str) -> None:
        super().__init__(f"the subscription is in {currency}")
        self.currency = currency


class InvoiceUnpaid(Exception):
    """An invoice of the subscription is open, or the bank has taken its money back: pay it first, or change at the end
    of the period."""


class CreditsUsed(Exception):
    """Less would go back than the days are worth, for credits of them have been used already: change at the end of the
    period."""


class NothingToChange(Exception):
    """The subscription has that plan and those seats already."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be different; None: it stays. A plan is named by its version, or by its key."""

    plan_version_id: int | None
    plan_key: str | None
    seats: int | None
    when: str | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """What a change would do. `quote` is today's invoice, what is pending on it, None where there is none; `credit`
    (zero or negative, as the plan's prices are) is left to go back on later ones. `renewal` is what the next whole
    period costs, None if nothing; `after_coupons` is what one costs once every coupon that ends has ended, None where
    that is the same. `credited`, tax included, is what credit notes to earlier invoices give back of
    what was charged at another tax than today's: money that came for those pays today's invoice, then later ones.
    `credits_delta` are credits more or fewer, of the cycle that runs or, at the end of the period, of each from then
    on. `withdraws` is the planned change that it takes the place of, if one waits.
    """

    when: When
    effective_at: datetime
    period_ends_at: datetime
    plan_version: PlanVersion
    seats: int
    currency: str
    quote: Quote | None
    credit: Decimal
    credited: Decimal
    renewal: Quote | None
    after_coupons: Quote | None
    credits_delta: Decimal
    withdraws: ScheduledChange | None

    @property
    def total(self) -> Decimal:
        """What is to be paid today, tax included."""
        return self.quote.total if self.quote is not None else ZERO


@dataclass(slots=True)
class Draft:
    """A change worked out: both sides of it, the lines that give back (`gone`, less what credits used `ahead` of time
    were worth) and charge (`come`). `contracts` are the account's. `cut` is None where nothing was paid in advance;
    `begins` is the subscription as it would be where another period begins today. With `is_credited` credit notes give
    back: the tax is another now."""

    when: When
    old: Side
    new: Side
    period: SubscriptionPeriod
    contracts: Sequence[ContractTerms] = ()
    cut: Cut | None = None
    gone: list[LineDraft] = field(default_factory=list)
    come: list[LineDraft] = field(default_factory=list)
    begins: Subscription | None = None
    ahead: Decimal = ZERO
    is_credited: bool = False


def draft_change(subscription: Subscription, wanted: Wanted, *, by_staff: bool, now: datetime) -> Draft:
    """Work a change out. Raises what refuses it."""
    guards.ensure_allowed(subscription, CHANGEABLE, now=now)
    if wanted.currency is not None and wanted.currency != subscription.currency:
        raise CurrencyFixed(subscription.currency)
    version = _version(subscription, wanted, by_staff=by_staff)
    seats, when = wanted.seats, wanted.when
    period = subscription.periods.select_related("invoice").get(number=subscription.period_number)
    contracts = list(ContractTerms.objects.filter(account=subscription.account_id, currency=subscription.currency))
    old = change_prices.before(subscription, period, contracts=contracts)
    asked = subscription.seats if seats is None else seats
    try:
        new = change_prices.after(subscription, old, version=version, seats=asked, contracts=contracts, at=now)
        if when is None:
            is_now = not period.number or change_prices.is_upgrade(old, new, subscription=subscription, now=now)
            when = When.NOW if is_now else When.PERIOD_END
        if when == When.PERIOD_END:
            at = subscription.period_ends_at
            new = change_prices.after(subscription, old, version=version, seats=asked, contracts=contracts, at=at)
    except NoPrice:
        raise CurrencyFixed(subscription.currency) from None
    if version.seats_max is not None and new.seats > version.seats_max:
        raise SeatsNotOffered(f"at most {version.seats_max} seats")
    if version.pk == subscription.plan_version_id and new.seats == subscription.seats:
        raise NothingToChange
    draft = Draft(When(when), old, new, period, contracts)
    if draft.when == When.NOW and period.number:
        _work_out(draft, subscription, now=now)
        draft.is_credited = unused_refund.is_taxed_otherwise(subscription, draft.gone, now=now)
        if not by_staff:
            _ensure_paid(draft, subscription)
            _ensure_unused(draft, subscription)
    return draft


def _ensure_paid(draft: Draft, subscription: Subscription) -> None:
    """Raise InvoiceUnpaid where a customer's change would give back money that has not come or is overdue; and where
    the period's was given up or taken back by a bank, also as a part of the price of what follows."""
    if subscription.state == State.PAST_DUE:
        raise InvoiceUnpaid(subscription)
    own = Collection.objects.filter(purpose=subscription_invoices.purpose_of(subscription))
    of_period = Q(invoice__lines__period_reference=fee_lines.span_of(subscription).reference)
    lost = of_period & (DISPUTED | Q(invoice__state=Invoice.State.UNCOLLECTIBLE))
    if fee_lines.net(draft.gone) and own.filter(lost).exists():
        raise InvoiceUnpaid(subscription)
    gives_back = draft.is_credited or fee_lines.net([*draft.gone, *draft.come]) < 0
    if gives_back and own.filter(invoice__state=Invoice.State.OPEN).exists():
        raise InvoiceUnpaid(subscription)


def _ensure_unused(draft: Draft, subscription: Subscription) -> None:
    """Raise CreditsUsed where a customer's change would give back money within the period, but not the credits that it
    had paid for: at the end of the period nothing is to be paid for them."""
    if draft.ahead and draft.begins is None and fee_lines.net([*draft.gone, *draft.come]) < draft.ahead:
        raise CreditsUsed(subscription)


def _version(subscription: Subscription, wanted: Wanted, *, by_staff: bool) -> PlanVersion:
    """The version asked for: the present one, one on offer to the account, for staff any that is published; of a plan's
    key the one on sale."""
    pk, key = wanted.plan_version_id, wanted.plan_key
    if key is None and (pk is None or pk == subscription.plan_version_id):
        return subscription.plan_version
    rows = plans_on_offer.versions_to(subscription.account)
    if by_staff:
        rows = PlanVersion.objects.filter(published_at__isnull=False) if key is None else plans.versions_on_sale()
    found = plans_on_offer.find(rows, version_id=pk, plan_key=key)
    if found is None:
        raise PlanNotOffered(key or pk)
    return found


def _work_out(draft: Draft, subscription: Subscription, *, now: datetime) -> None:
    """What a paid period's change gives back and charges. Arrears of a period that ends by it come apart."""
    old, new = draft.old, draft.new
    cut, rest = change_prices.cut_of(subscription, now=now), change_prices.rest_of(subscription, now=now)
    draft.cut = cut
    if change_prices.keeps_period(old.terms, new.terms):
        draft.gone, draft.come = change_prices.swapped(old, new, cut=cut, of=rest)
        kept = change_credits.cycle_left(subscription, old, now=now).left(new)
        _take_off(draft, change_credits.used_ahead(subscription, old, kept=kept, cut=cut, of=rest, now=now))
        return
    draft.gone = change_prices.unused(old, cut=cut, of=rest)
    _take_off(draft, change_credits.used_ahead(subscription, old, kept=ZERO, cut=cut, of=rest, now=now))
    begins = copy.copy(subscription)
    begins.plan_version, begins.seats = new.terms.version, new.seats
    restart.set_out(begins, terms=new.terms, now=now)
    span = fee_lines.span_of(begins)
    advance = fee_lines.advance(new.terms, seats=new.seats, of=span)
    taken_off, _used = coupons.discounts(coupons.active(subscription), terms=new.terms, advance=advance, of=span)
    draft.come, draft.begins = [*advance, *taken_off], begins


def _take_off(draft: Draft, ahead: LineDraft | None) -> None:
    """Let less go back where credits of it are used, but never less than nothing."""
    draft.ahead = min(ahead.amount, -fee_lines.net(draft.gone)) if ahead is not None else ZERO
    if ahead is not None and draft.ahead > 0:
        draft.gone.append(replace(ahead, amount=draft.ahead, unit_price=draft.ahead))


def preview_of(subscription: Subscription, draft: Draft, *, now: datetime) -> ChangePreview:
    """What a draft comes to. What it must write to find out is undone at once."""
    quote, credit, credited = None, ZERO, ZERO
    if draft.when == When.NOW and draft.cut is not None:
        with transaction.atomic():
            quote, credit, credited = _quote(subscription, draft, now=now)
            transaction.set_rollback(True)
    renewal = _renewal(subscription, draft)
    return ChangePreview(
        when=draft.when,
        effective_at=now if draft.when == When.NOW else subscription.period_ends_at,
        period_ends_at=(draft.begins or subscription).period_ends_at,
        plan_version=draft.new.terms.version,
        seats=draft.new.seats,
        currency=subscription.currency,
        quote=quote,
        credit=credit,
        credited=credited,
        renewal=renewal.price,
        after_coupons=renewal.after_coupons,
        credits_delta=_credits_delta(subscription, draft, now=now),
        withdraws=scheduled_change.find(subscription),
    )


def _quote(subscription: Subscription, draft: Draft, *, now: datetime) -> tuple[Quote | None, Decimal, Decimal]:
    """Today's invoice, None where there is none; what is left of credits after it; and what credit notes say.
    Writes what is to be undone."""
    count_fees(draft)
    arrears, name = arrears_of(subscription, draft, now=now).drafts, f"{subscription.pk}:preview"
    today = bill_today(subscription, draft, arrears, name=name, actor="", now=now)
    owed, credited = today.owed, sum((note.total for note in today.notes), ZERO)
    items = list(pending.list_open(account_id=subscription.account_id, currency=subscription.currency))
    credit = sum((item.amount for item in items if item.amount < 0), ZERO)
    if not owed and not any(item.amount > 0 for item in items):
        return None, credit, credited
    account = subscription.account
    on = issuing.supply_date(account, now)
    quote = issuing.quote(account=account, currency=subscription.currency, lines=owed, on=on, take_pending=True)
    taken = (line.draft.amount for line in quote.lines[len(owed) :])
    return quote, credit - sum((amount for amount in taken if amount < 0), ZERO), credited


def _renewal(subscription: Subscription, draft: Draft) -> PeriodQuotes:
    """What the next whole period costs, by the terms agreed for its time and with the coupons that are left by then."""
    begins = draft.begins or subscription
    terms = agreed.resolve(
        account_id=subscription.account_id, version_id=draft.new.terms.version.pk, currency=subscription.currency,
        at=begins.period_ends_at, contracts=draft.contracts,
    )  # fmt: skip
    left = coupons.active(subscription)
    if draft.begins is not None:
        left = [each for each in left if each.periods_left != 1]
    seats = max(draft.new.seats, terms.seats_included)
    return period_quotes.quote_period(
        subscription.account, terms, seats=seats, of=fee_lines.span_of(begins), redemptions=left,
        at=begins.period_ends_at,
    )  # fmt: skip


def _credits_delta(subscription: Subscription, draft: Draft, *, now: datetime) -> Decimal:
    old, new = draft.old, draft.new
    if draft.when == When.PERIOD_END:
        return new.included - old.terms.included(old.seats)
    if draft.cut is None:
        return ZERO
    left = change_credits.cycle_left(subscription, old, now=now)
    wanted = ZERO if draft.begins is not None else left.left(new)
    back = wanted - left.left(old)
    if back < 0:
        back = -min(-back, change_credits.left_to_take(subscription, ends_at=left.cycle[1], now=now))
    return back if draft.begins is None else back + new.included


def arrears_of(subscription: Subscription, draft: Draft, *, now: datetime) -> overage.Arrears:
    """What was metered so far is billed by the old terms; where the period ends, so is its minimum up to yesterday."""
    lots = overage.find_lots(subscription)
    return overage.bill(subscription, lots, before=now, closes=draft.begins is not None, now=now)


@dataclass(frozen=True, slots=True)
class Today:
    """What a change comes to today: `owed` lines for an invoice. `is_billed`: all that the change gives back and
    charges is among them. `is_set_off`: what it charges was taken from credit of the same period instead. `notes` are
    credit notes that give back what was charged at another tax."""

    owed: list[LineDraft]
    is_billed: bool
    is_set_off: bool = False
    notes: Sequence[CreditNote] = ()


def bill_today(
    subscription: Subscription,
    draft: Draft,
    arrears: Sequence[LineDraft],
    *,
    name: str,
    actor: str,
    now: datetime,
) -> Today:
    """What is billed today, with what goes back carried to the next invoice, and what an earlier change within the
    period has left to go back taken instead of an invoice that says nothing is to be paid."""
    owed, back = divide(draft, arrears)
    if draft.is_credited:
        notes = credit_as_charged(subscription, draft, name=name, actor=actor, now=now)
        return Today(owed, is_billed=False, notes=notes)
    if back is not None:
        carry(subscription, back, name=name, actor=actor, now=now)
        return Today(owed, is_billed=False)
    if not arrears and _set_off(subscription, draft, now=now):
        return Today([], is_billed=False, is_set_off=True)
    return Today(owed, is_billed=len(owed) > len(arrears))


def _set_off(subscription: Subscription, draft: Draft, *, now: datetime) -> bool:
    """Take what the change charges from credit of earlier ones of the period, if that covers it and is of the same
    kind; for what is earned day by day, of the same days."""
    if not _is_alike(draft) or (price := fee_lines.net([*draft.gone, *draft.come])) <= 0:
        return False
    one = draft.come[0]
    items = pending.list_open(account_id=subscription.account_id, currency=subscription.currency).filter(
        amount__lt=0, category=one.category, includes_tax=one.includes_tax, recognition=one.recognition,
        period_reference=one.period_reference,
    )  # fmt: skip
    if one.recognition == InvoiceLine.Recognition.PERIOD:
        items = items.filter(starts_at=one.starts_at, ends_at=one.ends_at)
    credits = list(items.select_for_update(no_key=True))
    if -sum((item.amount for item in credits), ZERO) < price:
        return False
    drafts = [draft_of(pending.Taken(item, item.amount)) for item in credits]
    if unused_refund.is_taxed_otherwise(subscription, drafts, now=now):
        return False
    pending.use_up(credits, price, now=now)
    return True


def _is_alike(draft: Draft) -> bool:
    """Whether a change within the period gives back and charges what is taxed and earned alike."""
    changed = [*draft.gone, *draft.come]
    return draft.begins is None and len({(x.category, x.includes_tax, x.recognition) for x in changed}) == 1


def divide(draft: Draft, arrears: Sequence[LineDraft]) -> tuple[list[LineDraft], LineDraft | None]:
    """The lines of today's invoice; and what goes back as one item of the next, where today's would fall below nothing
    by it, be it only in one tax category. A change that charges nothing on balance needs no invoice. What goes back by
    credit notes is in neither."""
    if draft.is_credited:
        return [*arrears, *draft.come], None
    if _is_alike(draft) and (net := fee_lines.net([*draft.gone, *draft.come])) <= 0:
        return [*arrears], _difference(draft, net) if net else None
    owed = [*arrears, *draft.gone, *draft.come]
    sums: dict[tuple[str, bool], Decimal] = {}
    for line in owed:
        kind = (line.category, line.includes_tax)
        sums[kind] = sums.get(kind, ZERO) + line.amount
    if min(sums.values(), default=ZERO) >= 0 and any(line.amount > 0 for line in owed):
        return owed, None
    back, text = fee_lines.net(draft.gone), {"plan": draft.old.terms.plan_name}
    if not back:
        return [*arrears, *draft.come], None
    item = replace(
        draft.gone[0], description=_("Unused time on %(plan)s") % text, amount=back, quantity=-ONE, unit_price=-back
    )
    return [*arrears, *draft.come], item


def _difference(draft: Draft, net: Decimal) -> LineDraft:
    """What a change within the period gives back on balance, as one line."""
    names = {"plan": draft.old.terms.plan_name, "new": draft.new.terms.plan_name}
    text = _("Unused time on %(plan)s") % names
    if draft.come and names["plan"] != names["new"]:
        text = _("Unused time on %(plan)s, less the same days of %(new)s") % names
    elif draft.come:
        text = _("Unused time on %(plan)s, less what the same days cost now") % names
    line = (draft.gone or draft.come)[0]
    return replace(line, description=text, amount=net, quantity=-ONE, unit_price=-net)


def credit_as_charged(
    subscription: Subscription, draft: Draft, *, name: str, actor: str, now: datetime
) -> list[CreditNote]:
    """Give back by credit notes what was charged at another tax than today's."""
    return unused_refund.give_back_as_charged(subscription, draft.gone, name=f"change:{name}", actor=actor, now=now)


def carry(subscription: Subscription, item: LineDraft, *, name: str, actor: str, now: datetime) -> None:
    """Let what goes back stand on the account's next invoice, today's if there is one."""
    pending.add(
        account_id=subscription.account_id,
        currency=subscription.currency,
        reference=f"change:{name}",
        description=item.description,
        amount=item.amount,
        quantity=item.quantity,
        unit_price=item.unit_price,
        category=item.category,
        includes_tax=item.includes_tax,
        recognition=item.recognition,
        starts_at=item.starts_at,
        ends_at=item.ends_at,
        period_reference=item.period_reference,
        now=now,
        actor=actor,
    )


def count_fees(draft: Draft) -> None:
    """Let the period say what stays billed in advance: less what goes back, and what is charged if it goes on."""
    cut, currency = draft.cut, draft.old.terms.currency
    if cut is None:
        return
    fee, seats_fee = draft.period.fee, draft.period.seats_fee
    fee -= proration.money_left(draft.old.fee, cut, currency) - draft.ahead
    seats_fee -= proration.money_left(draft.old.seats_fee, cut, currency)
    if draft.begins is None:
        fee += proration.money_left(draft.new.fee, cut, currency)
        seats_fee += proration.money_left(draft.new.seats_fee, cut, currency)
    SubscriptionPeriod.objects.filter(pk=draft.period.pk).update(fee=fee, seats_fee=seats_fee)
