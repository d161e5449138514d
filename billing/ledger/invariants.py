"""What must be true of the tables, each as one SQL statement whose rows are what is not.

A row is (kind, account id, pool id or None, subject, expected, found), all amounts as text. `%(accounts)s` narrows a
statement to some accounts; NULL means all. The auditor reads usage tables too, by name: it must see credits and usage
in one snapshot, although the metering room lies above this one.
"""

# Stands before each statement; what a statement does not name is not read.
SCOPE = """
WITH pools AS (
    SELECT * FROM billing_creditpool WHERE %(accounts)s::bigint[] IS NULL OR account_id = ANY(%(accounts)s::bigint[])
), lines AS (
    SELECT q.pool_id, q.act, e.* FROM pools JOIN billing_posting q ON q.pool_id = pools.id
    JOIN billing_ledgerentry e ON e.posting_id = q.id
), events AS (
    SELECT * FROM billing_usageevent WHERE %(accounts)s::bigint[] IS NULL OR account_id = ANY(%(accounts)s::bigint[])
)"""

# L4: granted = spent - reversed + expired + revoked + transferred + remaining, and each counter is what entries say.
LOT_IDENTITY = """
SELECT 'lot_identity', p.account_id, p.id, 'lot ' || g.id,
       g.amount - g.spent + g.reversed - g.expired - g.revoked - g.transferred, g.remaining
FROM pools p JOIN billing_creditgrant g ON g.pool_id = p.id
WHERE g.remaining <> g.amount - g.spent + g.reversed - g.expired - g.revoked - g.transferred
"""
LOT_COUNTERS = """
, sums AS (
    SELECT grant_id, sum(amount) AS remaining,
           sum(amount) FILTER (WHERE flow = 'grant') AS granted, -sum(amount) FILTER (WHERE flow = 'spend') AS spent,
           sum(amount) FILTER (WHERE flow = 'reverse') AS reversed,
           -sum(amount) FILTER (WHERE flow = 'expire') AS expired,
           -sum(amount) FILTER (WHERE flow = 'revoke') AS revoked,
           -sum(amount) FILTER (WHERE flow = 'transfer') AS transferred
    FROM lines GROUP BY grant_id
)
SELECT 'lot_' || c.name, p.account_id, p.id, 'lot ' || g.id, coalesce(c.total, 0), c.value
FROM pools p JOIN billing_creditgrant g ON g.pool_id = p.id LEFT JOIN sums s ON s.grant_id = g.id
CROSS JOIN LATERAL (VALUES
    ('amount', g.amount, s.granted), ('remaining', g.remaining, s.remaining), ('spent', g.spent, s.spent),
    ('reversed', g.reversed, s.reversed), ('expired', g.expired, s.expired), ('revoked', g.revoked, s.revoked),
    ('transferred', g.transferred, s.transferred)) c(name, value, total)
WHERE c.value <> coalesce(c.total, 0)
"""
LOT_OPENNESS = """
SELECT 'lot_openness', p.account_id, p.id, 'lot ' || g.id, 'open', 'closed'
FROM pools p JOIN billing_creditgrant g ON g.pool_id = p.id
WHERE NOT g.is_open AND (g.remaining > 0 OR (g.kind = 'overdraft' AND g.amount > g.revoked))
"""
LOT_HELD = """
, reserved AS (
    SELECT l.grant_id, sum(l.amount - l.captured) AS total
    FROM pools JOIN billing_hold h ON h.pool_id = pools.id AND h.state = 'open'
    JOIN billing_holdline l ON l.hold_id = h.id GROUP BY l.grant_id
)
SELECT 'lot_held', p.account_id, p.id, 'lot ' || g.id, coalesce(r.total, 0), g.held
FROM pools p JOIN billing_creditgrant g ON g.pool_id = p.id LEFT JOIN reserved r ON r.grant_id = g.id
WHERE g.held <> coalesce(r.total, 0)
"""
POOL_TOTALS = """
SELECT 'pool_' || c.name, p.account_id, p.id, c.source, coalesce(c.total, 0), c.value
FROM pools p
LEFT JOIN (
    SELECT pool_id, sum(remaining) AS remaining, sum(held) AS held,
           sum(amount - revoked) FILTER (WHERE kind = 'overdraft') AS owed
    FROM billing_creditgrant WHERE pool_id IN (SELECT id FROM pools) GROUP BY pool_id
) lots ON lots.pool_id = p.id
LEFT JOIN (
    SELECT pool_id, sum(uncovered) AS uncovered FROM billing_hold
    WHERE state = 'open' AND pool_id IN (SELECT id FROM pools) GROUP BY pool_id
) holds ON holds.pool_id = p.id
LEFT JOIN LATERAL (
    SELECT version, balance_after, overdraft_after FROM billing_posting
    WHERE pool_id = p.id ORDER BY version DESC LIMIT 1
) last ON true
CROSS JOIN LATERAL (VALUES
    ('balance', 'sum of its lots', p.balance, lots.remaining), ('held', 'sum of its lots', p.held, lots.held),
    ('held_uncovered', 'sum of its open holds', p.held_uncovered, holds.uncovered),
    ('overdraft', 'sum of its lots', p.overdraft, lots.owed),
    ('balance', 'its last posting', p.balance, last.balance_after),
    ('overdraft', 'its last posting', p.overdraft, last.overdraft_after),
    ('version', 'its last posting', p.version, last.version)) c(name, source, value, total)
WHERE c.value <> coalesce(c.total, 0)
"""
HOLD_CAPTURED = """
, spent AS (
    SELECT q.hold_id, sum(q.credits) AS total FROM pools JOIN billing_posting q ON q.pool_id = pools.id
    WHERE q.hold_id IS NOT NULL AND q.act = 'spend' GROUP BY q.hold_id
)
SELECT 'hold_captured', p.account_id, p.id, 'hold ' || h.id, coalesce(s.total, 0), h.captured
FROM pools p JOIN billing_hold h ON h.pool_id = p.id LEFT JOIN spent s ON s.hold_id = h.id
WHERE h.captured <> coalesce(s.total, 0)
"""
ENTRY_POOL = """
SELECT 'entry_pool', p.account_id, p.id, 'posting ' || l.posting_id || ' line ' || l.line, l.pool_id, g.pool_id
FROM lines l JOIN pools p ON p.id = l.pool_id JOIN billing_creditgrant g ON g.id = l.grant_id
WHERE g.pool_id <> l.pool_id
"""
# What a posting moved, by act, out of its lines: a charge on debt grants and spends, a repayment moves a spend.
POSTING_SUMS = """
, sums AS (
    SELECT posting_id, sum(amount) AS amount, CASE min(act)
        WHEN 'grant' THEN sum(amount) FILTER (WHERE flow = 'grant')
        WHEN 'spend' THEN -sum(amount) FILTER (WHERE flow = 'spend')
        WHEN 'repay' THEN -sum(amount) FILTER (WHERE flow = 'spend')
        WHEN 'reverse' THEN sum(amount) FILTER (WHERE flow = 'reverse')
        WHEN 'transfer' THEN abs(sum(amount))
        WHEN 'rollover' THEN -sum(amount) FILTER (WHERE flow IN ('transfer', 'expire'))
        ELSE -sum(amount) END AS credits
    FROM lines GROUP BY posting_id
)
SELECT 'posting_' || c.name, p.account_id, p.id, 'posting ' || q.id, coalesce(c.total, 0), c.value
FROM pools p JOIN billing_posting q ON q.pool_id = p.id LEFT JOIN sums s ON s.posting_id = q.id
CROSS JOIN LATERAL (VALUES ('amount', q.amount, s.amount), ('credits', q.credits, s.credits)) c(name, value, total)
WHERE c.value <> coalesce(c.total, 0)
"""
POSTING_CHAIN = """
, chain AS (
    SELECT q.id, q.pool_id, q.version, q.balance_before,
           lag(q.version, 1, 0) OVER steps AS last_version, lag(q.balance_after, 1, 0) OVER steps AS last_balance
    FROM pools JOIN billing_posting q ON q.pool_id = pools.id
    WINDOW steps AS (PARTITION BY q.pool_id ORDER BY q.version)
)
SELECT 'posting_' || c.name, p.account_id, p.id, 'posting ' || q.id, c.expected, c.found
FROM chain q JOIN pools p ON p.id = q.pool_id
CROSS JOIN LATERAL (VALUES
    ('version', (q.last_version + 1)::numeric, q.version::numeric),
    ('balance_before', q.last_balance, q.balance_before)) c(name, expected, found)
WHERE c.expected <> c.found
"""
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
IDENTITIES = (
    ("lots", LOT_IDENTITY),
    ("lot counters", LOT_COUNTERS),
    ("open lots", LOT_OPENNESS),
    ("held lots", LOT_HELD),
    ("pools", POOL_TOTALS),
    ("holds", HOLD_CAPTURED),
    ("entries", ENTRY_POOL),
    ("postings", POSTING_SUMS),
    ("balances after each posting", POSTING_CHAIN),
    ("usage credits", USAGE_CREDITS),
    ("usage postings", USAGE_POSTING),
    ("daily usage", DAILY_USAGE),
    ("usage counters", USAGE_COUNTERS),
)
