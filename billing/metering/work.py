"""One piece of usage on its way through ingest: an event or a charge, what was found out about it, and its verdict."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from billing.accounts import ids
from billing.catalog.prices import MeterInfo
from billing.catalog.pricing import Price
from billing.ledger.pool_state import Draft
from billing.metering.events import InvalidEvent, Usage, reference
from billing.metering.resolve import AccountInfo, CountsBy, World

ZERO = Decimal(0)
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Work:
    """An event (a fact) or a charge (which may be refused). `credits` is given beforehand for a charge of bare credits.

    `verdict`: accepted, duplicate, conflict, rejected, or for charges refused (see `refusal`).
    `derived`: made by Florin itself, e.g. a gauge's accrued level x time, whose quantity counts as it is.
    `charged_at` is the moment it counts at, in every period: when it happened, or now for `late` usage, whose period
    has closed. `own_period_starts_at` is the period it happened in, `period_starts_at` the one it is priced in, both as
    its rate card counts. `corrected` is what pricing it changes the period's correction by.
    `bound_account_id`: the account of the key it came with, when that key has but one.
    """

    is_charge: bool
    usage: Usage | None
    raw: object = None
    derived: bool = False
    bare_credits: Decimal | None = None
    actor: str = ""
    api_key_id: int | None = None
    bound_account_id: int | None = None
    note: str = ""
    account: AccountInfo | None = None
    meter: MeterInfo | None = None
    prices: tuple[Price, ...] = ()
    pool_id: int = 0
    member_id: int | None = None
    occurred_at: datetime = NO_TIME
    charged_at: datetime = NO_TIME
    own_period_starts_at: datetime = NO_TIME
    period_starts_at: datetime = NO_TIME
    late: bool = False
    counted: Decimal = ZERO
    price: Price | None = None
    credits: Decimal = ZERO
    corrected: Decimal = ZERO
    burn_offset: Decimal = ZERO
    draft: Draft | None = None
    posting_id: int | None = None
    available: Decimal = ZERO
    verdict: str = ""
    fault: InvalidEvent | None = None
    refusal: Exception | None = None
    faulty_as_sent: bool = False

    def start_over(self) -> None:
        """Forget what an attempt that failed as a whole has set, unless the usage was faulty as it came."""
        if not self.faulty_as_sent:
            self.verdict, self.fault, self.refusal = "", None, None
            self.draft, self.posting_id, self.price, self.late = None, None, None, False
            self.credits = self.counted = self.corrected = self.burn_offset = ZERO

    def reference(self, act: str) -> str:
        """Names the posting that it makes."""
        return reference(act, self.usage.source, self.usage.id) if self.usage else f"{act}:"

    def reject(self, fault: InvalidEvent) -> None:
        self.verdict, self.fault = "rejected", fault


def names_something(value: object) -> bool:
    """Whether a property's value tells one thing from another: null and blank text, which products send for nobody in
    particular, do not."""
    return value is not None and not (isinstance(value, str) and not value.strip())


def find_out(work: Work, world: World, *, now: datetime, grace_seconds: int) -> None:
    """Look up what the usage names and when it counts; a name that leads nowhere rejects it."""
    try:
        _find_out(work, world, now, grace_seconds)
    except InvalidEvent as fault:
        work.reject(fault)


def _find_out(work: Work, world: World, now: datetime, grace_seconds: int) -> None:
    usage = work.usage
    if usage is None:
        return
    account = world.accounts.get(usage.account)
    if account is None:
        raise InvalidEvent("unknown_account", f"There is no account {usage.account!r}.", "account")
    work.account = account
    work.pool_id = account.pools.get(usage.pool, 0) if usage.pool else account.main_pool_id
    if not work.pool_id:
        raise InvalidEvent("unknown_pool", f"The account has no pool {usage.pool!r}.", "pool")
    if usage.member:
        work.member_id = ids.find(ids.MEMBER, usage.member)
        if work.member_id not in account.members:
            raise InvalidEvent("unknown_member", f"The account has no member {usage.member!r}.", "member")
    if now >= account.cycle_ends_at:
        account.roll(now)
    work.occurred_at = usage.stated_at or now
    if work.bare_credits is not None:
        _find_period(work, account, CountsBy.BILLING_PERIOD, now, grace_seconds)
        return
    meter = world.catalog.meters.get(usage.meter)
    if meter is None or (meter.archived and not work.derived):
        raise InvalidEvent("unknown_meter", f"There is no active meter {usage.meter!r}.", "meter")
    work.meter = meter
    if meter.kind == "unique" and not names_something(usage.properties.get(meter.unique_property)):
        raise InvalidEvent(
            "missing_property", f"This meter counts values of the property {meter.unique_property!r}.", "properties"
        )
    card_id = world.catalog.card_id(account.assignments, work.occurred_at)
    _find_period(work, account, world.catalog.counts_by(card_id, work.occurred_at), now, grace_seconds)
    work.prices = world.catalog.prices(card_id, meter.id, work.occurred_at, now=now)
    if not work.prices:
        raise InvalidEvent(
            "no_rate", f"The account's rate card has no rate for the meter {meter.key!r}; zero is a rate too.", "meter"
        )


def _find_period(work: Work, account: AccountInfo, counts_by: str, now: datetime, grace_seconds: int) -> None:
    """Set when the usage counts (U6): by when it happened, until the grace of that period ends; then it is late, and
    counts now. Usage is late as soon as either its billing period or what its rates count by has closed, so that
    credits, overage and rates never disagree."""
    at = work.occurred_at
    if counts_by == CountsBy.BILLING_PERIOD and account.cycle_starts_at <= at < account.cycle_ends_at:
        # The period that runs: so it is with nearly all usage.
        work.late, work.charged_at = False, at
        work.own_period_starts_at = work.period_starts_at = account.cycle_starts_at
        return
    own = account.period_of(work.occurred_at, counts_by)
    periods = {own, account.period_of(work.occurred_at, CountsBy.BILLING_PERIOD)}
    work.late = any(
        account.is_closed(work.occurred_at, period, now=now, grace_seconds=grace_seconds) for period in periods
    )
    work.charged_at = now if work.late else work.occurred_at
    work.own_period_starts_at = own[0]
    work.period_starts_at = account.period_of(work.charged_at, counts_by)[0]
