"""A worker of the renewals benchmark: says `ready`, waits for a line, renews what is due, says how many."""

import sys
from datetime import UTC, datetime


def main() -> None:
    from tests.benchmarks import place

    assert place
    import django

    django.setup()
    from django.db import connection

    from billing.subscriptions.renewal import renewals

    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    now, done = datetime.now(UTC), 0
    while (some := renewals.run_due(now=now, limit=1000)).renewed:
        done += some.renewed
    print(done, flush=True)


if __name__ == "__main__":
    main()
