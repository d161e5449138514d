"""Subscribing to a plan: what it would cost, and doing it.

Locks: the account's row, then the coupon's, then its pools, then the issuer's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from django.db import transaction
from django.db.models import QuerySet

from billing.accounts.models import Account
from billing.catalog import periods
from billing.catalog.models import PlanVersion
from billing.catalog.pricing import round_credits
from billing.invoicing.lines import Quote
from billing.invoicing.models import Invoice
from billing.notifications import outbox
from billing.payments import methods
from billing.payments.methods import MethodNotUsable
from billing.subscriptions import history
from billing.subscriptions.agreement import calendar, plans_on_offer
from billing.subscriptions.agreement import terms as agreed
from billing.subscriptions.agreement.terms import NoPrice, Terms
from billing.subscriptions.charges import coupons, fee_lines, period_quotes
from billing.subscriptions.charges.coupons import CouponRefused
from billing.subscriptions.credits import allocations
from billing.subscriptions.lifecycle import end, period_start
from billing.subscriptions.models import CouponRedemption, Subscription, SubscriptionChange

__all__ = ["CouponRefused", "MethodNotUsable", "NoPrice"]

ZERO = Decimal(0)
State = Subscription.State
Collection = Subscription.Collection


class AlreadySubscribed(Exception):
    """The account has a subscription: change that one, or end it."""


class PlanNotOffered(LookupError):
    """There is no such version on sale to the account: a draft, an older one, a retired plan, another segment's."""


class SeatsNotOffered(ValueError):
    """The plan is not sold for that many seats."""


class ReferenceTaken(Exception):
    """The reference is in use for a subscription of another account, or one that was asked for in other words."""


@dataclass(frozen=True, slots=True)
class SubscribePreview:
    """What subscribing now would say. `quote` is the first invoice (None: nothing to pay now); `trial_ends_at` is None
    without a trial, after which `price`, the invoice of the first paid period before any later change, comes.
    `after_coupons` is what a period costs once the coupon has ended, None where that is the same."""

    terms: Terms
    seats: int
    starts_at: datetime
    ends_at: datetime
    trial_ends_at: datetime | None
    credits: Decimal
    quote: Quote | None
    price: Quote | None
    after_coupons: Quote | None


def preview(
    *,
    account_id: int,
    plan_version_id: int | None = None,
    plan_key: str | None = None,
    seats: int,
    currency: str | None = None,
    coupon_code: str = "",
    now: datetime,
) -> SubscribePreview:
    """What `subscribe` would do now; writes nothing.

    Raises AlreadySubscribed, PlanNotOffered, NoPrice, SeatsNotOffered, CouponRefused or issuing.NoIssuer.
    """
    account = Account.objects.get(pk=account_id)
    currency = currency or account.currency
    version = _offered(account, plan_version_id, plan_key, currency)
    return preview_of(
        account=account, version=version, seats=seats, currency=currency, coupon_code=coupon_code,
        live=_live(account).first(), now=now,
    )  # fmt: skip


def preview_of(
    *,
    account: Account,
    version: PlanVersion,
    seats: int,
    currency: str,
    coupon_code: str = "",
    live: Subscription | None,
    now: datetime,
) -> SubscribePreview:
    """`preview` for who has read the account, a version that is on offer to it, and its `live` subscription."""
    if live is None:
        return _preview(account, version, seats, currency, coupon_code, now=now)
    with transaction.atomic():
        # Rolled back; it may free the coupon of an unpaid subscription that gives way.
        _clear_way(account, now=now)
        found = _preview(account, version, seats, currency, coupon_code, now=now)
        transaction.set_rollback(True)
    return found


def _preview(
    account: Account, version: PlanVersion, seats: int, currency: str, coupon_code: str, *, now: datetime
) -> SubscribePreview:
    contracts = list(account.contract_terms.all())
    agree = partial(
        agreed.resolve, account_id=account.pk, version_id=version.pk, currency=currency, contracts=contracts
    )
    terms = agree(at=now)
    seats = _seats(terms, seats)
    draft = _draft(account, terms, seats, now=now)
    redemptions = []
    if coupon_code:
        coupon = coupons.check(
            account_id=account.pk, code=coupon_code, plan_id=terms.version.plan_id, currency=terms.currency, now=now
        )
        redemptions = [CouponRedemption(coupon=coupon, periods_left=coupon.duration_periods)]
    is_trial = draft.period_number == 0
    first = draft if not is_trial else _after_trial(draft, terms)
    billed = agree(at=first.period_starts_at)
    price = period_quotes.quote_period(
        account, billed, seats=_seats(billed, seats), of=fee_lines.span_of(first), redemptions=redemptions,
        at=first.period_starts_at,
    )  # fmt: skip
    return SubscribePreview(
        terms=terms,
        seats=seats,
        starts_at=draft.period_starts_at,
        ends_at=draft.period_ends_at,
        trial_ends_at=draft.trial_ends_at,
        credits=terms.version.trial_credits if is_trial else terms.included(seats),
        quote=None if is_trial else price.price,
        price=price.price,
        after_coupons=price.after_coupons,
    )


def subscribe(
    *,
    account_id: int,
    plan_version_id: int | None = None,
    plan_key: str | None = None,
    seats: int,
    currency: str | None = None,
    coupon_code: str = "",
    method_id: int | None = None,
    collection: str = Collection.AUTOMATIC,
    payment_terms_days: int | None = None,
    reference: str,
    actor: str,
    now: datetime,
) -> Subscription:
    """Give an account a plan from now on, a version or what is on sale of a plan's key: on trial, once per account, or
    billed for its first period.

    Where a method is charged for it (`method_id`; None: the account's default at the time) it is incomplete, without
    its credits, until that invoice is paid (`standing.follow_up`); otherwise active at once, each invoice due after
    `payment_terms_days` (None: the issuer's). An incomplete one that
    nobody paid gives way to another. Once per reference: repeating it in the same words returns the first, in others
    raises ReferenceTaken. Raises AlreadySubscribed, PlanNotOffered, NoPrice, SeatsNotOffered, CouponRefused,
    MethodNotUsable or issuing.NoIssuer, too; nothing is written then.
    """
    asked = {
        "plan": plan_key, "plan_version": plan_version_id, "seats": seats, "currency": currency, "coupon": coupon_code,
    }  # fmt: skip
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
        if (first := _find(account_id, reference, asked)) is not None:
            return first
        currency = currency or account.currency
        version = _offered(account, plan_version_id, plan_key, currency)
        terms = agreed.resolve(account_id=account.pk, version_id=version.pk, currency=currency, at=now)
        seats = _seats(terms, seats)
        if method_id is not None:
            methods.get_usable(account_id=account_id, method_id=method_id)
        _clear_way(account, now=now)
        subscription = _draft(account, terms, seats, now=now)
        subscription.reference, subscription.collection, subscription.method_id = reference, collection, method_id
        subscription.payment_terms_days = payment_terms_days if collection == Collection.MANUAL else None
        subscription.save(force_insert=True)
        if coupon_code:
            coupons.redeem(subscription, code=coupon_code, now=now)
        invoice = _begin(subscription, terms, now=now)
        history.write(
            subscription,
            SubscriptionChange.Act.SUBSCRIBE,
            reference=f"subscribe:{subscription.pk}",
            at=now,
            actor=actor,
            to_version=terms.version,
            to_seats=seats,
            invoice=invoice,
            details={"asked": asked, **({"coupon": coupon_code} if coupon_code else {})},
        )
        if subscription.state != State.INCOMPLETE:
            welcome(subscription, terms, now=now)
        return subscription


def welcome(subscription: Subscription, terms: Terms, *, now: datetime) -> None:
    """Tell the account that its subscription has begun."""
    outbox.write(
        kind="subscription_started",
        dedupe_key=f"subscription_started:{subscription.pk}",
        account_id=subscription.account_id,
        payload=period_start.facts(subscription, terms),
        now=now,
    )


def _begin(subscription: Subscription, terms: Terms, *, now: datetime) -> Invoice | None:
    """Let the pools follow the plan, bill the first period or give the trial's credits."""
    if subscription.period_number == 0:
        cycle, invoice = (now, subscription.period_ends_at), None
        period_start.note_trial(subscription, now=now)
        allocations.promise_trial(
            subscription,
            credits=round_credits(terms.version.trial_credits),
            starts_at=now,
            ends_at=subscription.period_ends_at,
            now=now,
        )
    else:
        cycle = calendar.cycles_of(subscription, terms)[0]
        started = period_start.start_period(
            subscription, terms=terms, reference=f"subscription:{subscription.pk}:1", now=now
        )
        invoice = started.invoice
        is_free = invoice is None or invoice.state == Invoice.State.PAID
        if is_free or subscription.collection == Collection.MANUAL:
            subscription.state = State.ACTIVE
            subscription.next_due_at = cycle[1]
    subscription.save()
    if subscription.state != State.INCOMPLETE:
        period_start.settle_in(subscription, terms, cycle=cycle, starts_at=now, now=now)
    return invoice


def _find(account_id: int, reference: str, asked: Mapping[str, object]) -> Subscription | None:
    first = Subscription.objects.filter(reference=reference).select_related("account").first()
    if first is None:
        return None
    if first.account_id != account_id:
        raise ReferenceTaken(reference)
    if first.changes.get(act=SubscriptionChange.Act.SUBSCRIBE).details["asked"] != dict(asked):
        raise ReferenceTaken(reference)
    return first


def _offered(account: Account, version_id: int | None, plan_key: str | None, currency: str) -> PlanVersion:
    on_offer = plans_on_offer.versions_for(account, currency=currency)
    version = plans_on_offer.find(on_offer, version_id=version_id, plan_key=plan_key)
    if version is None:
        raise PlanNotOffered(plan_key or version_id)
    return version


def _seats(terms: Terms, seats: int) -> int:
    """At least the seats that the plan includes. Raises SeatsNotOffered."""
    if terms.version.seats_max is not None and seats > terms.version.seats_max:
        raise SeatsNotOffered(f"at most {terms.version.seats_max} seats")
    return max(seats, terms.seats_included)


def _live(account: Account) -> QuerySet[Subscription]:
    return Subscription.objects.filter(account=account).exclude(state=State.ENDED)


def _clear_way(account: Account, *, now: datetime) -> None:
    """End an incomplete subscription that nobody is paying for. Raises AlreadySubscribed for any other live one."""
    live = _live(account).select_for_update(no_key=True).first()
    if live is None:
        return
    if live.state != State.INCOMPLETE or not end.abandon(live, now=now):
        raise AlreadySubscribed(live)


def _draft(account: Account, terms: Terms, seats: int, *, now: datetime) -> Subscription:
    """The subscription as it would begin now: its trial, or its first period."""
    today = periods.day_of(now, account.time_zone)
    trial_days = terms.version.trial_days
    # Who has tried once has tried, whatever plan it was.
    if trial_days and account.subscriptions.filter(trial_ends_at__isnull=False).exists():
        trial_days = 0
    subscription = Subscription(
        account=account,
        plan_version=terms.version,
        currency=terms.currency,
        seats=seats,
        state=State.TRIALING if trial_days else State.INCOMPLETE,
        anchor_on=today + timedelta(days=trial_days),
        period_number=0 if trial_days else 1,
        period_starts_at=now,
        started_at=now,
        created_at=now,
    )
    if trial_days:
        ends_at = periods.first_moment(subscription.anchor_on, account.time_zone)
        subscription.trial_ends_at = subscription.next_due_at = ends_at
    else:
        ends_at = calendar.end_of(subscription, terms)
    subscription.period_ends_at = ends_at
    return subscription


def _after_trial(trial: Subscription, terms: Terms) -> Subscription:
    """The first paid period after a trial, for a preview."""
    first = Subscription(
        account=trial.account,
        plan_version=trial.plan_version,
        currency=trial.currency,
        seats=trial.seats,
        anchor_on=trial.anchor_on,
        period_number=1,
        period_starts_at=trial.period_ends_at,
    )
    first.period_ends_at = calendar.end_of(first, terms)
    return first
