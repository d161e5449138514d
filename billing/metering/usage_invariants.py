"""What must be true of usage and of the credits spent on it: what `ledger.invariants` says of the ledger alone."""

from billing.ledger.invariants import SCOPE

_EVENTS = """, events AS (
    SELECT * FROM billing_usageevent WHERE %(accounts)s::bigint[] IS NULL OR account_id = ANY(%(accounts)s::bigint[])
)"""
# Stands before each statement.
USAGE_SCOPE = SCOPE + _EVENTS

# Usage: the credits of a posting's events are the posting's; a usage posting has events.
USAGE_CREDITS = """
, used AS (
    SELECT posting_id, sum(credits) AS total FROM events WHERE posting_id IS NOT NULL GROUP BY posting_id
)
SELECT 'usage_credits', p.account_id, p.id, 'posting ' || q.id, q.credits, coalesce(u.total, 0)
FROM pools p JOIN billing_posting q ON q.pool_id = p.id LEFT JOIN used u ON u.posting_id = q.id
WHERE q.act = 'spend' AND q.credits <> coalesce(u.total, 0)
  AND (u.total IS NOT NULL OR q.reference ~ '^usage[:@]'
       OR (q.reference ~ '^charge[:@]' AND q.meter_id IS NOT NULL AND q.hold_id IS NULL))
"""
USAGE_POSTING = """
SELECT 'usage_posting', e.account_id, e.pool_id,
       'event ' || e.event_id || CASE WHEN e.source = '' THEN '' ELSE ' of ' || e.source END,
       CASE WHEN q.id IS NULL THEN 'a spend of its pool' ELSE 'pool ' || e.pool_id END,
       CASE WHEN q.id IS NULL THEN 'posting ' || coalesce(e.posting_id::text, 'none') ELSE 'pool ' || q.pool_id END
FROM events e LEFT JOIN billing_posting q ON q.id = e.posting_id
WHERE e.credits > 0 AND (q.id IS NULL OR q.pool_id <> e.pool_id)
"""
# A reversed event no longer counts. An account's time zone may change, so a day's events cannot be told again; the
# totals over all days must agree.
DAILY_USAGE = """
, used AS (
    SELECT e.account_id, e.meter_id, e.member_id, count(*) FILTER (WHERE r.event_id IS NULL) AS events,
           sum(e.counted) FILTER (WHERE r.event_id IS NULL) AS quantity,
           sum(e.credits) - coalesce(sum(r.credits), 0) AS credits
    FROM events e LEFT JOIN billing_eventreversal r ON r.account_id = e.account_id
         AND r.event_id = e.event_id AND r.source = e.source
    GROUP BY e.account_id, e.meter_id, e.member_id
), told AS (
    SELECT account_id, meter_id, member_id, sum(events) AS events, sum(quantity) AS quantity, sum(credits) AS credits
    FROM billing_dailyusage
    WHERE %(accounts)s::bigint[] IS NULL OR account_id = ANY(%(accounts)s::bigint[])
    GROUP BY account_id, meter_id, member_id
)
SELECT 'daily_' || c.name, coalesce(u.account_id, t.account_id), NULL::bigint,
       'meter ' || coalesce(u.meter_id, t.meter_id) || coalesce(' member ' || coalesce(u.member_id, t.member_id), ''),
       coalesce(c.expected, 0), coalesce(c.found, 0)
FROM used u FULL JOIN told t ON t.account_id = u.account_id AND t.meter_id = u.meter_id
     AND coalesce(t.member_id, 0) = coalesce(u.member_id, 0)
CROSS JOIN LATERAL (VALUES
    ('events', u.events::numeric, t.events::numeric), ('quantity', u.quantity, t.quantity),
    ('credits', u.credits, t.credits)) c(name, expected, found)
WHERE coalesce(c.expected, 0) <> coalesce(c.found, 0)
"""
# What rates count in a period is what stands of its events: those that say they were priced in it. A unique meter's
# value may outlive the event that was charged for it, so its counters cannot be told from events.
USAGE_COUNTERS = """
, used AS (
    SELECT e.account_id, e.meter_id, e.rate_id, e.period_starts_at, sum(e.counted) AS quantity
    FROM events e JOIN billing_meter m ON m.id = e.meter_id AND m.kind <> 'unique'
    LEFT JOIN billing_eventreversal r ON r.account_id = e.account_id
         AND r.event_id = e.event_id AND r.source = e.source
    WHERE e.rate_id IS NOT NULL AND r.event_id IS NULL GROUP BY 1, 2, 3, 4
), told AS (
    SELECT c.* FROM billing_usagecounter c JOIN billing_meter m ON m.id = c.meter_id AND m.kind <> 'unique'
    WHERE %(accounts)s::bigint[] IS NULL OR c.account_id = ANY(%(accounts)s::bigint[])
)
SELECT 'usage_counter', coalesce(u.account_id, t.account_id), NULL::bigint,
       'rate ' || coalesce(u.rate_id, t.rate_id) || ' from ' || coalesce(u.period_starts_at, t.period_starts_at),
       coalesce(u.quantity, 0), coalesce(t.quantity, 0)
FROM used u FULL JOIN told t ON t.account_id = u.account_id AND t.meter_id = u.meter_id AND t.rate_id = u.rate_id
     AND t.period_starts_at = u.period_starts_at
WHERE coalesce(u.quantity, 0) <> coalesce(t.quantity, 0)
"""

# Name for the progress display, statement.
USAGE_IDENTITIES = (
    ("usage credits", USAGE_CREDITS),
    ("usage postings", USAGE_POSTING),
    ("daily usage", DAILY_USAGE),
    ("usage counters", USAGE_COUNTERS),
)
