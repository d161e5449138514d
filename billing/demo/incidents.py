"""What does not happen every month: campaigns, training jobs on hold, refunds, keys, mistakes, and a low balance."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from random import Random

from billing.accounts import keys
from billing.accounts.models import ApiKey, Scope
from billing.demo import buying
from billing.demo.cast import TEAM_ACCOUNT
from billing.demo.parties import Scene, Story, buy_pack
from billing.ledger import balance, holds, posting
from billing.ledger.cycles import month_after
from billing.ledger.models import Hold, Posting
from billing.metering import ingest, reversal
from billing.metering.models import UsageEvent
from billing.notifications import invitations

DAY = timedelta(days=1)


def special_scenes(story: Story) -> Iterable[Scene]:
    """All of them, each within the story's time."""
    for at, act in (*_fixed_scenes(story), *_training_jobs(story), *_print_jobs(story), *_last_hours(story)):
        if story.since < at <= story.until:
            yield at, act


def _fixed_scenes(story: Story) -> Iterable[Scene]:
    since = story.since
    yield since + 5 * DAY, partial(_buy, story, TEAM_ACCOUNT, 100_000)
    yield since + 95 * DAY, partial(_boost, story, "sparkseed")
    yield since + 230 * DAY, partial(_buy, story, "harvest", 10_000)
    yield since + 232 * DAY, partial(_refund_pack, story, "harvest")
    yield since + 10 * DAY, partial(_issue_key, story, "Old gateway", "")
    yield since + 40 * DAY, partial(_revoke_key, "Old gateway")
    yield since + 45 * DAY, partial(_issue_key, story, "Data warehouse", TEAM_ACCOUNT)
    yield since + 200 * DAY, partial(_rotate_key, "Data warehouse")
    yield since + 33 * DAY, partial(_send, story, {"meter": "llm-inptu", "account": "northwind"})
    yield since + 90 * DAY, partial(_send, story, {"meter": "llm-input", "account": "nortwind"})
    yield since + 91 * DAY, partial(_send, story, {"meter": "images", "account": "pixelforge", "quantity": -4})
    yield since + 100 * DAY, partial(_give, story, "brightloop", 500, "referral", "Referred Sparkseed", 90)
    for key in ("northwind", "brightloop", "pixelforge", "quietriver"):
        campaign = partial(_give, story, key, 400, "bonus", "Spring campaign", 10, priority=60)
        yield since + 120 * DAY, campaign
    yield since + 150 * DAY, partial(_give, story, "pixelforge", 400, "bonus", "Image week", 60, meter="images")
    yield since + 180 * DAY, partial(_give, story, "northwind", 250, "loyalty", "Half a year with us", 180)
    yield since + 210 * DAY, partial(_give, story, "kitsune", 200, "goodwill", "Sorry for the outage", 90)
    yield since + 220 * DAY, partial(_give, story, "atlas", 1_000, "adjustment", "Migration from the old system", 365)
    yield since + 222 * DAY, partial(_take_back, story, "atlas", 600)
    for day in (9, 40, 100):
        moment = month_after(since + day * DAY, "America/New_York") + 2 * DAY
        yield moment, partial(_report_late, story, "northwind")
    yield since + 130 * DAY, partial(_bill_workshop, story, TEAM_ACCOUNT, 800)
    yield since + 137 * DAY, partial(_cancel_workshop, story, TEAM_ACCOUNT)
    for day in (60, 150, 240, 330):
        yield since + day * DAY, partial(_reverse_last_answer, story, "kitsune")
    for day in (70, 190, 310):
        yield since + day * DAY, partial(_return_to_main, story, "support", 500)


def _last_hours(story: Story) -> Iterable[Scene]:
    """What a visitor should find: a fresh alert, a running job, an open invitation, something to replay."""
    until = story.until
    yield until - timedelta(hours=80), partial(_fail_to_top_up, story, "sparkseed")
    yield until - timedelta(hours=26), partial(_try_to_buy, story, "brightloop", 10_000, buying.DECLINED)
    yield until - timedelta(minutes=9), partial(_try_to_buy, story, "harvest", 20_000, buying.ASKS_BACK)
    yield until - timedelta(hours=20), partial(_invite, story, "nora@meridian.example")
    yield until - timedelta(hours=2), partial(_hold, story, "running", 300)
    for number in range(3):
        event = {"meter": "embeddings", "account": "brightloop", "quantity": 512 * (number + 1)}
        yield until - timedelta(hours=3, minutes=number), partial(_send, story, event)
    yield until - timedelta(minutes=4), partial(_spend_up_to, story, "tidewater", 78)
    yield until - timedelta(minutes=3), partial(_spend_up_to, story, "tidewater", 93)
    yield until - timedelta(minutes=2), partial(_charge_too_much, story)


def _training_jobs(story: Story) -> Iterable[Scene]:
    """Every week Atlas trains: credits on hold, then captured in one or two parts, released, or forgotten."""
    random = Random(f"{story.seed}:training")  # noqa: S311  (a story, not a secret)
    for week in range(1, 52):
        begins_at = story.since + week * 7 * DAY + timedelta(hours=19, minutes=random.randrange(60))
        amount, used = random.randrange(20, 60) * 10, random.uniform(0.5, 1.0)
        cost = (amount * Decimal(used)).quantize(Decimal("0.01"))
        name, ended_at = f"training-{week}", begins_at + timedelta(hours=random.randrange(2, 9))
        yield begins_at, partial(_hold, story, name, amount)
        if week % 13 == 0:
            continue
        if week % 9 == 0:
            yield ended_at, partial(_release, name)
        elif week % 5 == 0:
            yield ended_at, partial(_capture, name, cost / 2, final=False)
            yield ended_at + timedelta(hours=3), partial(_extend, name)
            yield ended_at + timedelta(hours=9), partial(_capture, name, cost / 2, final=True)
        else:
            yield ended_at, partial(_capture, name, cost, final=True)


def _print_jobs(story: Story) -> Iterable[Scene]:
    """Cloudnine pays for posters beforehand; every fourth comes out wrong and is refunded the day after."""
    random = Random(f"{story.seed}:posters")  # noqa: S311  (a story, not a secret)
    for number in range(1, 70):
        at = story.since + number * 5 * DAY + timedelta(hours=random.randrange(8, 18))
        yield at, partial(_charge_images, story, f"poster-{number}", random.randrange(6, 40))
        if number % 4 == 0:
            yield at + DAY, partial(_refund, story, f"poster-{number}")


def _buy(story: Story, key: str, credits: int, now: datetime) -> None:
    buy_pack(story.parties[key], Decimal(credits), now=now)


def _try_to_buy(story: Story, key: str, credits: int, number: str, now: datetime) -> None:
    """A purchase that is declined, or waits for its buyer to confirm it."""
    party = story.parties[key]
    buying.buy(party.account, Decimal(credits), buyer_id=party.owner_id, now=now, number=number)


def _fail_to_top_up(story: Story, key: str, now: datetime) -> None:
    if key not in story.parties:
        return  # It has not joined yet in a short story.
    account = story.parties[key].account
    rule = buying.save_rule(account, threshold=9_000, credits=10_000, number=buying.NO_FUNDS, max_count=3, now=now)
    buying.decline_again_and_again(rule.pk, since=now)


def _boost(story: Story, key: str, now: datetime) -> None:
    party = story.parties[key]
    buying.buy(party.account, Decimal(4_000), buyer_id=party.owner_id, now=now, pack="Start-up boost")


def _refund_pack(story: Story, key: str, now: datetime) -> None:
    buying.refund_last(
        story.parties[key].account, Decimal(2_000), reason="Bought too many", actor=story.staff_actor, now=now
    )


def _give(
    story: Story, key: str, amount: int, kind: str, note: str, days: int, now: datetime, *, priority: int = 45,
    meter: str = "",
) -> None:  # fmt: skip
    posting.grant(
        pool_id=story.main_pool(key),
        amount=Decimal(amount),
        kind=kind,
        reference=f"{kind}:{now:%Y-%m-%d}",
        expires_at=now + timedelta(days=days),
        priority=priority,
        meter_id=story.catalog.meters[meter].pk if meter else None,
        note=note,
        actor=story.staff_actor,
        now=now,
    )


def _take_back(story: Story, key: str, amount: int, now: datetime) -> None:
    """Of the last adjustment, what was too much (as far as it is left)."""
    lot = story.parties[key].account.pools.get(key="main").grants.filter(kind="adjustment").get()
    posting.revoke(
        grant_id=lot.pk, amount=min(Decimal(amount), lot.remaining), reference=f"revoke:{lot.pk}",
        note="Counted twice", actor=story.staff_actor, now=now,
    )  # fmt: skip


def _return_to_main(story: Story, pool: str, amount: int, now: datetime) -> None:
    team = story.parties[TEAM_ACCOUNT].account.pools.get(key=pool)
    free = balance.read(pool_id=team.pk, now=now).available
    if free > 0:
        posting.transfer(
            from_pool_id=team.pk, to_pool_id=story.main_pool(TEAM_ACCOUNT), amount=min(Decimal(amount), free),
            reference=f"back:{now:%Y-%m-%d}", note="Not needed", actor="system", now=now,
        )  # fmt: skip


def _hold(story: Story, name: str, amount: int, now: datetime) -> None:
    party = story.parties["atlas"]
    if balance.read(pool_id=party.pool_id, now=now).available < amount:
        buy_pack(party, Decimal(party.customer.top_up), now=now)
    holds.place(
        pool_id=party.pool_id, amount=Decimal(amount), reference=name, expires_in_seconds=holds.MAX_SECONDS,
        meter_id=story.catalog.meters["gpu-seconds"].pk, note="Fine-tuning job", now=now,
    )  # fmt: skip


def _capture(name: str, amount: Decimal, now: datetime, *, final: bool) -> None:
    reference = f"capture:{name}:{'last' if final else 'first'}"
    holds.capture(hold_id=_hold_id(name), amount=amount, final=final, reference=reference, actor="system", now=now)


def _extend(name: str, now: datetime) -> None:
    holds.extend(hold_id=_hold_id(name), expires_in_seconds=holds.MAX_SECONDS, now=now)


def _release(name: str, now: datetime) -> None:
    holds.release(hold_id=_hold_id(name), now=now)


def _hold_id(name: str) -> int:
    return Hold.objects.values_list("pk", flat=True).get(reference=name)


def _charge_images(story: Story, name: str, number: int, now: datetime) -> None:
    request = ingest.ChargeRequest(
        account="cloudnine", id=name, meter_key="images", quantity=Decimal(number), properties={"quality": "hd"},
        note="Posters", actor=f"key:{story.api_key_id}",
    )  # fmt: skip
    try:
        ingest.charge(request=request, now=now)
    except posting.InsufficientCredits:
        return  # Its overage is capped: no posters until the next month.


def _refund(story: Story, name: str, now: datetime) -> None:
    account_id = story.parties["cloudnine"].account.pk
    with suppress(reversal.EventNotFound):
        reversal.reverse_event(
            account_id=account_id, event_id=name, reason="Came out wrong", actor=story.staff_actor, now=now
        )


def _bill_workshop(story: Story, key: str, credits: int, now: datetime) -> None:
    posting.spend(
        pool_id=story.main_pool(key), credits=Decimal(credits), reference="workshop", note="Prompting workshop",
        actor=story.staff_actor, now=now,
    )  # fmt: skip


def _cancel_workshop(story: Story, key: str, now: datetime) -> None:
    billed = Posting.objects.get(pool_id=story.main_pool(key), reference="workshop")
    posting.reverse(posting_id=billed.pk, note="Workshop cancelled", actor=story.staff_actor, now=now)


def _send(story: Story, event: dict[str, object], now: datetime) -> None:
    """One event from somebody's faulty application, which is kept as rejected."""
    at = now - timedelta(minutes=5)
    faulty = {"id": f"faulty-{now:%m%d-%H%M}", "quantity": 800, "occurred_at": at.isoformat(), **event}
    ingest.take_events(events=[faulty], now=now)


def _report_late(story: Story, key: str, now: datetime) -> None:
    """Usage of the month before, reported when that month has closed: charged to the current one, and marked."""
    event = {"meter": "llm-output", "quantity": 12_000, "properties": {"model": "lumen-pro"}}
    at = now - timedelta(days=4)
    late = {"id": f"late-{now:%Y-%m}", "account": key, "occurred_at": at.isoformat(), **event}
    ingest.take_events(events=[late], now=now)


def _reverse_last_answer(story: Story, key: str, now: datetime) -> None:
    account_id = story.parties[key].account.pk
    answers = UsageEvent.objects.filter(account_id=account_id, meter__key="llm-output")
    last = answers.latest("occurred_at", "event_id")
    reversal.reverse_event(
        account_id=account_id, event_id=last.event_id, reason="Answer was cut off", actor=story.staff_actor, now=now
    )


def _charge_too_much(story: Story, now: datetime) -> None:
    request = ingest.ChargeRequest(account="tidewater", id="too-much", credits=Decimal(50_000), actor="system")
    try:
        ingest.charge(request=request, now=now)
    except posting.InsufficientCredits:
        return  # As it should: nothing is written.


def _spend_up_to(story: Story, key: str, percent: int, now: datetime) -> None:
    """Charge what takes the account's cycle to `percent` of its allocation, as far as credits are left."""
    found = balance.read(pool_id=story.main_pool(key), now=now)
    if found.cycle is None:
        return
    wanted = (found.cycle.allocation * percent / 100 - found.cycle.spent).quantize(Decimal(1))
    credits = min(wanted, found.available)
    if credits > 0:
        request = ingest.ChargeRequest(
            account=key, id=f"backlog-{percent}", credits=credits, note="Transcript backlog", actor="system"
        )
        ingest.charge(request=request, now=now)


def _issue_key(story: Story, name: str, account: str, now: datetime) -> None:
    owner = story.parties[account].account if account else None
    scopes = [Scope.READ] if owner else [Scope.READ, Scope.USAGE_WRITE]
    keys.issue(name=name, scopes=scopes, account=owner, now=now)


def _revoke_key(name: str, now: datetime) -> None:
    keys.revoke(key=ApiKey.objects.get(name=name), now=now)


def _rotate_key(name: str, now: datetime) -> None:
    keys.rotate(key=ApiKey.objects.get(name=name), overlap_seconds=7 * 86_400, now=now)


def _invite(story: Story, email: str, now: datetime) -> None:
    invitations.send(
        account=story.parties[TEAM_ACCOUNT].account, email=email, role="member",
        invited_by=story.people[f"olivia@{TEAM_ACCOUNT}.example"], now=now,
    )  # fmt: skip
