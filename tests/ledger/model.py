"""The ledger's rules once more, as plainly as they can be said: what the real one is compared with, act by act.

Written from the rules L1 to L9, not from the code: lots, debts, holds, and what each spend took from where.
`Refused` stands for every refusal, and leaves the model half-changed: keep a copy.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

ZERO = Decimal(0)
NEVER = datetime.max.replace(tzinfo=UTC)
ENDLESS = Decimal("Infinity")


class Refused(Exception):
    """The rules do not allow it."""


@dataclass
class Lot:
    """Credits that are alike."""

    number: int
    pool: str
    remaining: Decimal
    priority: int
    meter: int | None
    effective: datetime
    expires: datetime | None
    paid: bool
    held: Decimal = ZERO

    @property
    def free(self) -> Decimal:
        return self.remaining - self.held

    def good_at(self, moment: datetime) -> bool:
        return self.effective <= moment < (self.expires or NEVER)

    @property
    def turn(self) -> tuple:
        """L2: priority, scoped first, soonest expiry, promotional first, effective, oldest."""
        expires = self.expires or NEVER
        return (self.priority, self.meter is None, expires, self.paid, self.effective, self.number)


@dataclass
class Debt:
    """Overdraft: what is still owed, and which lots paid how much of it, the latest last."""

    owed: Decimal = ZERO
    payments: list[list] = field(default_factory=list)

    def pay(self, lot: Lot, amount: Decimal) -> None:
        before = sum((paid for payer, paid in self.payments if payer is lot), ZERO)
        self.payments = [each for each in self.payments if each[0] is not lot] + [[lot, before + amount]]
        self.owed -= amount


@dataclass
class Spend:
    """What was spent, piece by piece: (lot or debt or month of overage, amount)."""

    pool: str
    pieces: list[tuple]
    returned: bool = False


@dataclass
class Hold:
    """What is reserved: parts of lots, and on the policy."""

    pool: str
    meter: int | None
    placed: datetime
    ends: datetime
    parts: list[list]
    uncovered: Decimal
    state: str = "open"


@dataclass
class Pool:
    """A pool's policy and debts."""

    policy: str = "block"
    burst: Decimal = ZERO
    cap: Decimal | None = None
    low_below: Decimal | None = None
    low_told: bool = False
    times_told: int = 0
    debts: list[Debt] = field(default_factory=list)
    overage: dict[tuple[int, int], Decimal] = field(default_factory=dict)

    @property
    def owed(self) -> Decimal:
        return sum((debt.owed for debt in self.debts), ZERO)


def _month(at: datetime) -> datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


class Model:
    """The pools `main` and `team` of one account in UTC, since some day of `first_month`."""

    def __init__(self, first_month: tuple[int, int]) -> None:
        self.first_month = first_month
        self.pools = {"main": Pool(), "team": Pool()}
        self.lots: list[Lot] = []
        self.spends: list[Spend] = []
        self.holds: list[Hold] = []

    def available(self, pool: str, now: datetime) -> Decimal:
        self._lapse(now)
        good = [lot for lot in self.lots if lot.pool == pool and lot.good_at(now)]
        general = sum((lot.free for lot in good if lot.meter is None), ZERO)
        scoped = sum((lot.free for lot in good if lot.meter is not None), ZERO)
        return max(general - self.pools[pool].owed, ZERO) + scoped

    def left(self, pool: str, now: datetime) -> Decimal:
        """What is not spent: held credits are still there, what is owed is not."""
        good = [lot for lot in self.lots if lot.pool == pool and lot.good_at(now)]
        general = sum((lot.remaining for lot in good if lot.meter is None), ZERO)
        scoped = sum((lot.remaining for lot in good if lot.meter is not None), ZERO)
        return max(general - self.pools[pool].owed, ZERO) + scoped

    def watch(self, name: str, below: Decimal | None, now: datetime) -> None:
        pool = self.pools[name]
        pool.low_below, pool.low_told = below, below is not None and self.left(name, now) < below

    def notice(self, name: str, now: datetime) -> None:
        """Something was written to the pool: a fall below is told of once, until it is back."""
        pool = self.pools[name]
        if pool.low_below is not None:
            is_low = self.left(name, now) < pool.low_below
            pool.times_told += is_low and not pool.low_told
            pool.low_told = is_low

    def held(self, pool: str) -> Decimal:
        return sum((lot.held for lot in self.lots if lot.pool == pool), ZERO) + self._promised(pool)

    def owed_now(self, pool: str, now: datetime) -> Decimal:
        """What is owed once credits that are free now have repaid."""
        general = sum((lot.free for lot in self._usable(pool, None, now)), ZERO)
        return max(self.pools[pool].owed - general, ZERO)

    def _promised(self, pool: str) -> Decimal:
        holds = (hold for hold in self.holds if hold.pool == pool and hold.state == "open")
        return sum((hold.uncovered for hold in holds), ZERO)

    def _usable(self, pool: str, meter: int | None, *moments: datetime) -> list[Lot]:
        self._lapse(moments[0])
        lots = self._usable_any(pool, meter)
        return [lot for lot in lots if any(lot.good_at(moment) for moment in moments)]

    def _charged(self, occurred: datetime, now: datetime) -> datetime:
        """One rule: by when it happened, until the hour after its month has passed; then it counts now."""
        month = _month(now)
        if occurred >= month:
            return occurred
        last = _month(month - timedelta(days=1))
        is_closing = last <= occurred and (last.year, last.month) >= self.first_month
        return occurred if is_closing and now < month + timedelta(hours=1) else now

    def _payers(self, pool: str, meter: int | None, now: datetime, charged: datetime) -> list[Lot]:
        """What usage may burn: had it come in time, nothing that began with the month after it."""
        month = _month(now)
        if charged >= month:
            return self._usable(pool, meter, now, charged)
        self._lapse(now)
        return [lot for lot in self._usable_any(pool, meter)
                if lot.good_at(charged) or lot.effective < month <= (lot.expires or NEVER)]  # fmt: skip

    def _usable_any(self, pool: str, meter: int | None) -> list[Lot]:
        lots = [lot for lot in self.lots if lot.pool == pool and lot.free > 0 and lot.meter in (None, meter)]
        return sorted(lots, key=lambda lot: lot.turn)

    def _room(self, name: str, now: datetime) -> Decimal:
        pool = self.pools[name]
        if pool.policy == "burst":
            return max(pool.burst - pool.owed - self._promised(name), ZERO)
        if pool.policy == "overage":
            used = pool.overage.get((now.year, now.month), ZERO)
            return ENDLESS if pool.cap is None else max(pool.cap - used - self._promised(name), ZERO)
        return ZERO

    # Acts: each first repays what is owed from credits that are free.
    def grant(self, pool: str, now: datetime, **fields) -> None:
        self._repay(pool, now)
        self.lots.append(Lot(number=len(self.lots), pool=pool, **fields))
        self._repay(pool, now)

    def spend(
        self, pool: str, credits: Decimal, meter: int | None, now: datetime, occurred: datetime, fact: bool
    ) -> None:
        self._repay(pool, now)
        charged = self._charged(occurred, now)
        lots = self._payers(pool, meter, now, charged)
        if not fact and credits > sum(lot.free for lot in lots) + self._room(pool, charged):
            raise Refused
        self.spends.append(Spend(pool, self._burn(pool, credits, lots, charged)))

    def reverse(self, index: int, now: datetime) -> None:
        spend = self.spends[index]
        if spend.returned:
            raise Refused
        self._repay(spend.pool, now)
        spend.returned = True
        for source, amount in reversed(spend.pieces):
            if isinstance(source, Lot):
                source.remaining += amount
            elif isinstance(source, tuple):
                self.pools[spend.pool].overage[source] -= amount
            else:
                self._forgive(source, amount)
        self._repay(spend.pool, now)

    def transfer(self, source: str, target: str, amount: Decimal, now: datetime) -> None:
        self._repay(source, now)
        self._repay(target, now)
        lots = self._usable(source, None, now)
        if amount > sum(lot.free for lot in lots):
            raise Refused
        for lot in lots:
            moved = min(lot.free, amount)
            if moved:
                lot.remaining -= moved
                amount -= moved
                twin = (moved, lot.priority, None, lot.effective, lot.expires, lot.paid)
                self.lots.append(Lot(len(self.lots), target, *twin))
        self._repay(target, now)

    def revoke(self, index: int, amount: Decimal, now: datetime) -> None:
        lot = self.lots[index]
        self._repay(lot.pool, now)
        if amount > lot.free:
            raise Refused
        lot.remaining -= amount

    def hold(self, pool: str, amount: Decimal, meter: int | None, now: datetime, seconds: int) -> None:
        self._repay(pool, now)
        lots = self._usable(pool, meter, now)
        if amount > sum(lot.free for lot in lots) + self._room(pool, now):
            raise Refused
        parts = []
        for lot in lots:
            part = min(lot.free, amount)
            if part:
                lot.held += part
                amount -= part
                parts.append([lot, part])
        self.holds.append(Hold(pool, meter, now, now + timedelta(seconds=seconds), parts, amount))

    def capture(self, index: int, amount: Decimal, now: datetime, final: bool) -> None:
        hold = self.holds[index]
        if hold.state != "open" or hold.ends <= now:
            raise Refused
        self._repay(hold.pool, now)
        pieces, left = [], amount
        for part in hold.parts:
            taken = min(part[1], left)
            if taken:
                part[1] -= taken
                part[0].held -= taken
                part[0].remaining -= taken
                left -= taken
                pieces.append((part[0], taken))
        promised = min(left, hold.uncovered)
        charged = self._charged(hold.placed, now)
        lots = self._payers(hold.pool, hold.meter, now, charged)
        extra = left - promised
        if extra and extra > sum(lot.free for lot in lots) + self._room(hold.pool, charged):
            raise Refused
        hold.uncovered -= promised
        if left:
            pieces += self._burn(hold.pool, left, lots, charged)
        if amount:
            self.spends.append(Spend(hold.pool, pieces))
        if final:
            self._close(hold, "captured")
            self._repay(hold.pool, now)

    def release(self, index: int, now: datetime) -> None:
        self._lapse(now)
        hold = self.holds[index]
        if hold.state == "released":
            return
        if hold.state != "open":
            raise Refused
        self._repay(hold.pool, now)
        self._close(hold, "released")
        self._repay(hold.pool, now)

    def expire(self, now: datetime, grace: timedelta) -> None:
        """First holds, then lots."""
        for hold in self._lapse(now):
            self._repay(hold.pool, now)
        for pool in self.pools:
            due = [
                lot
                for lot in self.lots
                if lot.pool == pool and lot.remaining and not lot.held and (lot.expires or NEVER) <= now - grace
            ]
            if due:
                self._repay(pool, now)
            for lot in due:
                lot.remaining = ZERO

    def _lapse(self, now: datetime) -> list[Hold]:
        """A hold past its end reserves nothing, whether or not a job has run."""
        over = [hold for hold in self.holds if hold.state == "open" and hold.ends <= now]
        for hold in over:
            self._close(hold, "expired")
        return over

    def _burn(self, name: str, credits: Decimal, lots: list[Lot], now: datetime) -> list[tuple]:
        pieces: list[tuple] = []
        for lot in lots:
            taken = min(lot.free, credits)
            if taken:
                lot.remaining -= taken
                credits -= taken
                pieces.append((lot, taken))
        pool, month = self.pools[name], (now.year, now.month)
        if credits and pool.policy == "overage" and (metered := min(credits, self._room(name, now))):
            pool.overage[month] = pool.overage.get(month, ZERO) + metered
            credits -= metered
            pieces.append((month, metered))
        if credits:
            if not pool.owed:
                pool.debts.append(Debt())
            pool.debts[-1].owed += credits
            pieces.append((pool.debts[-1], credits))
        return pieces

    def _repay(self, pool: str, now: datetime) -> None:
        for debt in self.pools[pool].debts:
            for lot in self._usable(pool, None, now):
                paid = min(lot.free, debt.owed)
                if paid:
                    lot.remaining -= paid
                    debt.pay(lot, paid)

    def _forgive(self, debt: Debt, amount: Decimal) -> None:
        """What is still owed of it is cancelled; the rest goes back to who paid, the latest first."""
        cancelled = min(amount, debt.owed)
        debt.owed -= cancelled
        amount -= cancelled
        for payment in reversed(debt.payments):
            back = min(payment[1], amount)
            payment[0].remaining += back
            payment[1] -= back
            amount -= back

    def _close(self, hold: Hold, state: str) -> None:
        for lot, part in hold.parts:
            lot.held -= part
        hold.state = state
