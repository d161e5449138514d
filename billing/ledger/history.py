"""Finding a time in a pool's history. Takes no locks; the cost grows with the logarithm of the history, not with it.

There is no index on the time of a posting, because each would cost every posting written. There need not be one:
versions have no gaps and are in time order, so the index on (pool, version) can be searched by halving.
"""

from collections.abc import Collection
from datetime import datetime

from django.db import connection

from billing.ledger.models import CreditPool


def count_before(*, pool_id: int, moments: Collection[datetime]) -> dict[datetime, int]:
    """How many postings the pool had before each of these moments: the version of the last one, 0 if there is none.

    One statement. A pool that does not exist has no answers.
    """
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_BEFORE, {"pool": pool_id, "moments": list(moments)})
        return dict(cursor.fetchall())


# Each round halves the range of versions in which the answer of each moment lies.
_COUNT_BEFORE = """
WITH RECURSIVE search AS (
    SELECT moment, 0::bigint AS low, pool.version AS high
    FROM unnest(%(moments)s::timestamptz[]) AS moment, billing_creditpool pool WHERE pool.id = %(pool)s
  UNION ALL
    SELECT search.moment,
           CASE WHEN middle.posted_at < search.moment THEN middle.version ELSE search.low END,
           CASE WHEN middle.posted_at < search.moment THEN search.high ELSE middle.version - 1 END
    FROM search CROSS JOIN LATERAL (
        SELECT version, posted_at FROM billing_posting
        WHERE pool_id = %(pool)s AND version = (search.low + search.high + 1) / 2 LIMIT 1
    ) middle
    WHERE search.low < search.high
)
SELECT moment, low FROM search WHERE low = high
"""


def versions_within(pool: CreditPool, *, since: datetime | None, until: datetime | None) -> range:
    """The versions of the pool's postings in `[since, until)`; None: without that bound.

    One statement, none without bounds. Without `until` they end with the version that `pool` was read at.
    """
    moments = [moment for moment in (since, until) if moment is not None]
    counts = count_before(pool_id=pool.pk, moments=moments) if moments else {}
    first = counts[since] + 1 if since is not None else 1
    last = counts[until] if until is not None else max(pool.version, first - 1)
    return range(first, last + 1)
