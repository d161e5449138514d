"""A year of Lumen AI, told through the real services: nothing here writes a row that a service writes.

The story is a list of scenes, each a moment and an act, played in the order of their moments with that moment as
`now`. Chance comes from one seeded generator per customer, so the same seed and end tell the same story.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from django.conf import settings
from django.db.models import F

from billing.accounts import addresses, ids, members
from billing.accounts.models import Account, Member, User
from billing.demo import buying, subscribing
from billing.demo import catalog as shop
from billing.demo.cast import CUSTOMERS, TEAM, TEAM_ACCOUNT, TEAM_POOLS, Customer
from billing.demo.parties import Party, Scene, Story, report_usage
from billing.demo.usage import YEAR, Reporter
from billing.ledger import expiry, expiry_notices, holds, pools, posting, sealing
from billing.ledger.cycles import month_after
from billing.metering import gauges
from billing.notifications import inbox
from billing.notifications.models import Notification

DAY = timedelta(days=1)
# What a visitor looks at first is reported often; for the past, seldom is enough.
LATELY = 35 * DAY
REPORT_EVERY, REPORT_LATELY_EVERY = 3 * DAY, timedelta(hours=12)
# Besides at the end of each month; it writes a charge for each day however seldom it is done.
ACCRUE_LATELY_EVERY = 7 * DAY


def scenes_of_the_year(story: Story) -> Iterable[Scene]:
    """What happens by itself: sign-ups, months, usage, jobs, and the second price list."""
    for customer in CUSTOMERS:
        joins_at = story.since + timedelta(days=customer.joined_after_days)
        if joins_at < story.until:
            yield joins_at, partial(sign_up, story, customer)
            yield from _months(story, customer, joins_at)
            yield from subscribing.scenes(story, customer, joins_at)
    edition_at = story.since + YEAR / 2
    if edition_at < story.until:
        second_edition = partial(shop.publish_second_edition, story.catalog, effective_at=edition_at)
        yield edition_at - timedelta(days=14), second_edition
    lately = max(story.since, story.until - LATELY)
    for at in (*_ticks(story.since, lately, REPORT_EVERY), *_ticks(lately, story.until, REPORT_LATELY_EVERY)):
        yield at, partial(report_usage, story, story.parties.values())
    for at in (*_ticks(story.since, lately, REPORT_EVERY), *_ticks(lately, story.until, DAY)):
        yield at, run_jobs
    for at in _ticks(lately, story.until, ACCRUE_LATELY_EVERY):
        yield at, accrue_gauges


def _ticks(since: datetime, until: datetime, every: timedelta) -> Iterable[datetime]:
    """Moments in `(since, until]`, of which `until` is the last."""
    at = since
    while at < until:
        at = min(at + every, until)
        yield at


def _months(story: Story, customer: Customer, joins_at: datetime) -> Iterable[Scene]:
    """The beginning of each month of the account's zone after it joined, while it is a customer; a little later its
    gauges are charged for the old month's last hours, which still count in it."""
    last = story.until
    if customer.left_after_days is not None:
        last = min(last, story.since + timedelta(days=customer.left_after_days))
    at = month_after(joins_at, customer.time_zone)
    while at < last:
        yield at, partial(begin_month, story, customer)
        if customer.habit.storage_gb and (soon := at + gauges.LAG) <= story.until:
            yield soon, accrue_gauges
        at = month_after(at, customer.time_zone)


def sign_up(story: Story, customer: Customer, *, now: datetime) -> None:
    """Open the account with its owner, a welcome bonus that ends after 30 days, and the month's allocation."""
    domain = f"{customer.key}.example"
    account = pools.open_account(
        name=customer.name,
        external_id=customer.key,
        billing_email=f"billing@{domain}",
        country=customer.country,
        currency=customer.currency,
        time_zone=customer.time_zone,
        tax_number=customer.tax_number,
        segment_override=customer.segment,
        policy=customer.policy,
        burst_limit=Decimal(customer.burst_limit),
        overage_cap=None if customer.overage_cap is None else Decimal(customer.overage_cap),
        now=now,
    )
    reporter = Reporter(customer, begins_at=now, seed=story.seed)
    if customer.left_after_days is not None:
        reporter.ends_at = story.since + timedelta(days=customer.left_after_days)
    owner = join(story, account, f"owner@{domain}", f"Owner of {customer.name}", "owner", now=now)
    party = Party(customer, account, pools.get_main_pool(account.pk).pk, reporter, owner.user_id)
    story.parties[customer.key] = party
    buying.add_card(account, buying.WORKS, is_default=True, now=now)
    if customer.tops_up_by_itself:
        party.rule_id = buying.save_rule(
            account, threshold=customer.top_up_below, credits=customer.top_up, number=buying.WORKS, max_count=6, now=now
        ).pk
    if customer.key == TEAM_ACCOUNT:
        _found_teams(story, party, now=now)
    posting.grant(
        pool_id=party.pool_id,
        amount=Decimal(500),
        kind="bonus",
        reference="bonus:welcome",
        expires_at=now + timedelta(days=30),
        priority=40,
        note="Welcome to Lumen AI",
        actor="system",
        now=now,
    )
    allocate(story, party, now=now)


def join(story: Story, account: Account, email: str, name: str, role: str, *, now: datetime) -> Member:
    """Give a person, new or known, a place in an account; everybody has the demo's one password."""
    if email not in story.people:
        user = User.objects.create(email=email, name=name, password=story.password_hash)
        User.objects.filter(pk=user.pk).update(created_at=now)
        addresses.trust(user)
        story.people[email] = user
    return members.add(account=account, user=story.people[email], role=role, now=now)


def _found_teams(story: Story, party: Party, *, now: datetime) -> None:
    """The enterprise's people, two of them with a monthly limit, its team pools, and who uses which."""
    people = {
        name: join(story, party.account, f"{name}@{party.customer.key}.example", full_name, role, now=now)
        for name, full_name, role in TEAM
    }
    pools.set_member_limit(member_id=people["mia"].pk, amount=Decimal(1_500), now=now)
    pools.set_member_limit(member_id=people["jonas"].pk, amount=Decimal(6_000), now=now)
    for key, name, _ in TEAM_POOLS:
        pools.open_pool(account=party.account, key=key, name=name, now=now)
    party.reporter.places = [
        (0.5, "", ""),
        (0.2, "research", ids.encode(ids.MEMBER, people["jonas"].pk)),
        (0.1, "research", ""),
        (0.04, "support", ids.encode(ids.MEMBER, people["mia"].pk)),
        (0.16, "support", ""),
    ]


def begin_month(story: Story, customer: Customer, *, now: datetime) -> None:
    """Report what is left of the old month, roll over what may live on, allocate, and fill the team pools."""
    party = story.parties[customer.key]
    report_usage(story, [party], now=now)
    if customer.rollover is not None:
        posting.roll_over(
            pool_id=party.pool_id,
            ends_at=now,
            new_expires_at=month_after(now, customer.time_zone),
            rule=customer.rollover,
            reference=f"rollover:{now:%Y-%m-%d}",
            now=now,
        )
    allocate(story, party, now=now)


def allocate(story: Story, party: Party, *, now: datetime) -> None:
    """The month's credits by an agreement of old, which end with the month; the enterprise moves some of them to its
    team pools."""
    customer = party.customer
    if not customer.allocation:
        return
    posting.grant(
        pool_id=party.pool_id,
        amount=Decimal(customer.allocation),
        kind="allocation",
        reference=f"allocation:{now:%Y-%m-%d}",
        expires_at=month_after(now, customer.time_zone),
        cost_basis=Decimal(customer.unit_price),
        note="Monthly credits",
        actor="system",
        now=now,
    )
    for key, _, amount in TEAM_POOLS if customer.key == TEAM_ACCOUNT else ():
        posting.transfer(
            from_pool_id=party.pool_id,
            to_pool_id=party.account.pools.get(key=key).pk,
            amount=Decimal(amount),
            reference=f"teams:{key}:{now:%Y-%m-%d}",
            note="Monthly team budget",
            actor=f"user:{story.people[f'olivia@{customer.key}.example'].pk}",
            now=now,
        )


def run_jobs(*, now: datetime) -> None:
    """What Celery's beat would do meanwhile."""
    expiry.expire_due(now=now, grace_seconds=settings.FLORIN_EXPIRY_GRACE_SECONDS)
    holds.expire_due(now=now)
    expiry_notices.announce_expiring(now=now, limit=len(CUSTOMERS) * 100)


def accrue_gauges(*, now: datetime) -> None:
    """Also beat's; seldom, for each series is a transaction."""
    gauges.accrue_due(now=now, limit=len(CUSTOMERS))


def close(story: Story) -> None:
    """Seal the ledger. Notifications have been delivered, but for the last day's, and read, but for the last week's."""
    sealing.seal(now=story.until)
    past = Notification.objects.filter(created_at__lt=story.until - timedelta(days=1))
    past.update(state=Notification.State.EXPANDED, expanded_at=F("created_at"))
    week_ago = story.until - timedelta(days=7)
    for member in Member.objects.all():
        read = past.filter(account_id=member.account_id, created_at__lt=week_ago)
        inbox.mark_read(member=member, notification_ids=list(read.values_list("pk", flat=True)), now=week_ago)
