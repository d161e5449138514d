"""What must be true of the tables, each as one SQL statement whose rows are what is not.

A row is (kind, account id, pool id or None, subject, expected, found), all amounts as text. `%(accounts)s` narrows a
statement to some accounts; NULL means all.
"""

# Stands before each statement; what a statement does not name is not read.
SCOPE = """
WITH pools AS (
    SELECT * FROM billing_creditpool WHERE %(accounts)s::bigint[] IS NULL OR account_id = ANY(%(accounts)s::bigint[])
), lines AS (
    SELECT q.pool_id, q.act, e.* FROM pools JOIN billing_posting q ON q.pool_id = pools.id
    JOIN billing_ledgerentry e ON e.posting_id = q.id
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
)
