"""The floors: the least that any program must do on the same server for the same effect, by psycopg directly."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg

from tests.benchmarks import place

# Indexes, checks and defaults are copied, foreign keys and triggers are not: the floor has it easier.
TABLES = {
    "floor_pool": "billing_creditpool",
    "floor_lot": "billing_creditgrant",
    "floor_posting": "billing_posting",
    "floor_entry": "billing_ledgerentry",
    "floor_event": "billing_usageevent",
    "floor_day": "billing_dailyusage",
    "floor_counter": "billing_usagecounter",
}

_UPDATE_POOL = """
UPDATE floor_pool SET balance = balance - 1.5, cycle_spent = cycle_spent + 1.5, version = version + 1,
    last_posted_at = now() WHERE id = %(pool)s
"""
_UPDATE_LOT = "UPDATE floor_lot SET remaining = remaining - 1.5, spent = spent + 1.5 WHERE id = %(lot)s"
_INSERT_POSTING = """
INSERT INTO floor_posting (id, pool_id, version, act, reference, credits, amount, balance_before, balance_after,
    overdraft_after, posted_at, occurred_at, actor, note)
VALUES (%(id)s, %(pool)s, %(id)s, 'spend', %(reference)s, 1.5, -1.5, 100, 98.5, 0, now(), now(), 'key:1', '')
"""
_INSERT_ENTRY = """
INSERT INTO floor_entry (posting_id, line, grant_id, flow, amount) VALUES (%(id)s, 1, %(lot)s, 'spend', -1.5)
"""
_INSERT_EVENT = """
INSERT INTO floor_event (account_id, event_id, meter_id, pool_id, quantity, counted, properties, occurred_at,
    received_at, late, credits, unit_cost, posting_id, burn_offset, period_starts_at, fingerprint)
VALUES (%(account)s, %(reference)s, 1, %(pool)s, 1500, 1500, '{}', now(), now(), false, 1.5, 0, %(id)s, 0,
    date_trunc('month', now()), '\\x00112233445566778899aabbccddeeff')
"""
_UPSERT_DAY = """
INSERT INTO floor_day AS d (account_id, day, meter_id, events, quantity, credits, cost)
VALUES (%(account)s, current_date, 1, 1, 1500, 1.5, 0)
ON CONFLICT (account_id, day, meter_id, member_id) DO UPDATE SET events = d.events + 1, quantity = d.quantity + 1500,
    credits = d.credits + 1.5
"""
_UPSERT_COUNTER = """
INSERT INTO floor_counter AS c (account_id, meter_id, dimension, period_starts_at, quantity)
VALUES (%(account)s, 1, '{}', date_trunc('month', now()), 1500)
ON CONFLICT (account_id, period_starts_at, meter_id, dimension) DO UPDATE SET quantity = c.quantity + 1500
"""
BARE_CHARGE = (_UPDATE_POOL, _UPDATE_LOT, _INSERT_POSTING, _INSERT_ENTRY)
BARE_USAGE = (*BARE_CHARGE, _INSERT_EVENT, _UPSERT_DAY, _UPSERT_COUNTER)

_ids = itertools.count(1)


def make_floor_tables() -> None:
    """Tables like the product's, with the same pools and lots in them."""
    with psycopg.connect(place.dsn(), autocommit=True) as connection:
        for floor, table in TABLES.items():
            connection.execute(f"CREATE TABLE {floor} (LIKE {table} INCLUDING ALL)")
            options = connection.execute("SELECT reloptions FROM pg_class WHERE relname = %s", [table]).fetchone()[0]
            if options:
                connection.execute(f"ALTER TABLE {floor} SET ({', '.join(options)})")
        for floor in ("floor_pool", "floor_lot"):
            connection.execute(f"INSERT INTO {floor} SELECT * FROM {TABLES[floor]}")
            connection.execute(f"VACUUM ANALYZE {floor}")


def bare_transactions(statements: Sequence[str], *, concurrency: int, seconds: float) -> float:
    """Transactions per second that only write, one statement a round trip, over all pools."""
    with psycopg.connect(place.dsn()) as connection:
        lots = connection.execute("SELECT pool_id, min(id) FROM floor_lot GROUP BY pool_id").fetchall()
        accounts = dict(connection.execute("SELECT id, account_id FROM floor_pool").fetchall())

    def write(connection: psycopg.Connection, deadline: float) -> int:
        chance, done = random.Random(), 0
        while time.perf_counter() < deadline:
            pool, lot = chance.choice(lots)
            number = next(_ids)
            names = {"pool": pool, "lot": lot, "account": accounts[pool], "id": number, "reference": f"bare:{number}"}
            with connection.transaction():
                for statement in statements:
                    connection.execute(statement, names)
            done += 1
        return done

    return _in_threads(write, concurrency=concurrency, seconds=seconds)


def _in_threads(
    write: Callable[[psycopg.Connection, float], int], *, concurrency: int, seconds: float
) -> float:  # fmt: skip
    connections = [psycopg.connect(place.dsn(), prepare_threshold=0) for _ in range(concurrency)]
    try:
        with ThreadPoolExecutor(concurrency) as threads:
            started = time.perf_counter()
            done = sum(threads.map(lambda each: write(each, started + seconds), connections))
            return done / (time.perf_counter() - started)
    finally:
        for connection in connections:
            connection.close()


def copy_rate(batches: Sequence[bytes], *, rows: int, clients: int) -> float:
    """Rows per second of plain COPY into the identical indexed table, a transaction a batch of `rows` rows."""
    waiting, guard = iter(batches), threading.Lock()

    def copy(connection: psycopg.Connection, _: float) -> int:
        done = 0
        while True:
            with guard:
                batch = next(waiting, None)
            if batch is None:
                return done
            with connection.cursor() as cursor, cursor.copy("COPY floor_event FROM STDIN") as stream:
                stream.write(batch)
            connection.commit()
            done += rows

    return _in_threads(copy, concurrency=clients, seconds=0)


def copy_batches(number: int, rows: int) -> list[bytes]:
    """Batches of rows as the product stored them last, under ids of their own, ready for COPY."""
    with psycopg.connect(place.dsn()) as connection:
        with connection.cursor().copy(
            f"COPY (SELECT * FROM billing_usageevent ORDER BY received_at DESC LIMIT {rows}) TO STDOUT"
        ) as stream:
            lines = b"".join(stream).splitlines()
        columns = [column.name for column in connection.execute("SELECT * FROM billing_usageevent LIMIT 0").description]
    place_of_id = columns.index("event_id")
    batches = []
    for _ in range(number):
        fresh = []
        for line in lines:
            fields = line.split(b"\t")
            fields[place_of_id] = b"%032x" % random.getrandbits(128)
            fresh.append(b"\t".join(fields))
        batches.append(b"\n".join(fresh) + b"\n")
    return batches
