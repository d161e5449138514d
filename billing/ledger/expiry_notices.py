"""Telling of credits before they expire: 30 days, 7 days and a day ahead, by the calendar of the account's zone.

Which is due is read from the lots, so a day on which no job ran is caught up with: then the message comes late, says
how many days are really left, and a distance that is past is not told any more.
"""

from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import Min

from billing.accounts import clocks
from billing.catalog.periods import day_of, first_moment
from billing.ledger.models import CreditGrant
from billing.ledger.pool_state import DEBT_KINDS
from billing.notifications import outbox

DISTANCES = (30, 7, 1)
# What every period brings anew, and hands on to team pools, is not worth telling of when it has only just come.
_RECURRING = ("allocation", "rollover", "transfer")

# Lots by the day their credits end, with the smallest distance that day lies within. A lot is told of at a distance if
# it is valid for at least that long in all; one that recurs, for twice as long.
_DUE = """
WITH lots AS (
    SELECT p.account_id, p.key, p.name, g.expires_at, g.remaining,
           (g.expires_at AT TIME ZONE a.time_zone)::date AS ends_on,
           (%(now)s::timestamptz AT TIME ZONE a.time_zone)::date AS today,
           ((g.expires_at AT TIME ZONE a.time_zone)::date - (g.effective_at AT TIME ZONE a.time_zone)::date)
               / CASE WHEN g.kind = ANY(%(recurring)s) THEN 2 ELSE 1 END AS lasts
    FROM billing_creditgrant g
    JOIN billing_creditpool p ON p.id = g.pool_id JOIN billing_account a ON a.id = p.account_id
    WHERE CASE WHEN %(account)s::bigint IS NULL THEN a.clock_at IS NULL ELSE a.id = %(account)s END
      AND g.is_open AND g.remaining > 0 AND NOT g.kind = ANY(%(debts)s)
      AND g.effective_at <= %(now)s AND g.expires_at > %(now)s
      AND g.expires_at < %(now)s::timestamptz + make_interval(days => %(furthest)s + 2)
), due AS (
    SELECT account_id, key, name, ends_on, ends_on - today AS days, min(expires_at) AS expires_at,
           sum(remaining) AS credits,
           (SELECT min(d) FROM unnest(%(distances)s::int[]) d WHERE ends_on - today <= d) AS distance
    FROM lots
    WHERE lasts >= (SELECT min(d) FROM unnest(%(distances)s::int[]) d WHERE ends_on - today <= d)
    GROUP BY account_id, key, name, ends_on, today
), told AS (
    SELECT account_id, ends_on, days, distance, min(expires_at) AS expires_at, sum(credits) AS credits,
           array_agg(key ORDER BY credits DESC, key) AS keys, array_agg(name ORDER BY credits DESC, key) AS names,
           array_agg(credits ORDER BY credits DESC, key) AS shares
    FROM due GROUP BY account_id, ends_on, days, distance
)
SELECT account_id, ends_on, days, distance, expires_at, credits, keys, names, shares FROM told
WHERE NOT EXISTS (
    SELECT 1 FROM billing_notification n
    WHERE n.dedupe_key = 'expiring:' || told.account_id || ':' || told.ends_on || ':' || told.distance
)
ORDER BY expires_at, account_id LIMIT %(limit)s
"""


def next_due_at(*, after: datetime, account_id: int | None = None) -> datetime | None:
    """When, after a moment, there is something to tell next, as things stand: at the first moment of a day of the
    account's zone, or when a lot becomes effective. Of one account, or for None of all that are on no test clock."""
    lots = CreditGrant.objects.filter(is_open=True, remaining__gt=0, expires_at__gt=after).exclude(kind__in=DEBT_KINDS)
    lots = clocks.narrow(lots, account_id=account_id, road="pool__account")
    days = lots.values_list("pool__account__time_zone", "expires_at").distinct()
    times = {
        first_moment(day_of(expires_at, zone) - timedelta(days=distance), zone)
        for zone, expires_at in days.iterator()
        if expires_at is not None
        for distance in DISTANCES
    }
    times |= {lots.filter(effective_at__gt=after).aggregate(first=Min("effective_at"))["first"] or after}
    return min((at for at in times if at > after), default=None)


def announce_expiring(*, now: datetime, limit: int, account_id: int | None = None) -> int:
    """Write a notification for each account and day on which credits end soon, at most `limit`; how many.

    One for all lots of all pools that end on the same day, once per distance, permanently. It takes the place of those
    that were written about that day at a longer distance. Takes no locks; several at once, or a run too many, write
    nothing twice. With `account_id` only that account's; without, what is on a test clock is left alone.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _DUE,
            {
                "now": now,
                "distances": list(DISTANCES),
                "furthest": max(DISTANCES),
                "recurring": list(_RECURRING),
                "debts": list(DEBT_KINDS),
                "limit": limit,
                "account": account_id,
            },
        )
        rows = cursor.fetchall()
    for told_id, ends_on, days, distance, expires_at, credits, keys, names, shares in rows:
        subject = f"expiring:{told_id}:{ends_on}"
        outbox.write(
            kind="expiring",
            dedupe_key=f"{subject}:{distance}",
            account_id=told_id,
            payload={
                "credits": str(credits),
                "expires_at": expires_at.astimezone(UTC).isoformat(),
                "days": days,
                "pools": [
                    {"pool": key, "pool_name": name, "credits": str(share)}
                    for key, name, share in zip(keys, names, shares, strict=True)
                ],
            },
            now=now,
        )
        outbox.supersede(dedupe_keys=[f"{subject}:{longer}" for longer in DISTANCES if longer > distance], now=now)
    return len(rows)
