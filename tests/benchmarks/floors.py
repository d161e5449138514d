"""The floors: the least that any program must do on the same server for the same effect, by psycopg directly."""

import itertools
import json
import random
import time
import uuid
from collections.abc import Iterator, Sequence
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
INSERT INTO floor_event (account_id, event_id, source, meter_id, pool_id, quantity, counted, properties, occurred_at,
    received_at, late, credits, unit_cost, posting_id, burn_offset, period_starts_at, fingerprint)
VALUES (%(account)s, %(reference)s, '', 1, %(pool)s, 1500, 1500, '{}', now(), now(), false, 1.5, 0, %(id)s, 0,
    date_trunc('month', now()), '\\x00112233445566778899aabbccddeeff')
"""
_UPSERT_DAY = """
INSERT INTO floor_day AS d (account_id, day, meter_id, events, quantity, credits, cost)
VALUES (%(account)s, current_date, 1, 1, 1500, 1.5, 0)
ON CONFLICT (account_id, day, meter_id, member_id) DO UPDATE SET events = d.events + 1, quantity = d.quantity + 1500,
    credits = d.credits + 1.5
"""
_UPSERT_COUNTER = """
INSERT INTO floor_counter AS c (account_id, meter_id, dimension, period_starts_at, rate_id, quantity, correction)
VALUES (%(account)s, 1, '{}', date_trunc('month', now()), 1, 1500, 0)
ON CONFLICT (account_id, period_starts_at, meter_id, rate_id) DO UPDATE SET quantity = c.quantity + 1500
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

    connections = [psycopg.connect(place.dsn(), prepare_threshold=0) for _ in range(concurrency)]
    try:
        with ThreadPoolExecutor(concurrency) as threads:
            started = time.perf_counter()
            done = sum(threads.map(lambda each: write(each, started + seconds), connections))
            return done / (time.perf_counter() - started)
    finally:
        for each in connections:
            each.close()


Row = tuple[object, ...]


def copy_rate(batches: Sequence[Sequence[Row]]) -> float:
    """Rows per second of plain COPY into the identical indexed table, row by row as a program has them, a transaction a
    batch."""
    with psycopg.connect(place.dsn()) as connection:
        started = time.perf_counter()
        for batch in batches:
            with connection.cursor() as cursor, cursor.copy("COPY floor_event FROM STDIN") as stream:
                for row in batch:
                    stream.write_row(row)
            connection.commit()
        return sum(map(len, batches)) / (time.perf_counter() - started)


def copy_bytes_rate(batches: Sequence[Sequence[Row]]) -> float:
    """The same of rows that lie ready as bytes: what the server alone can take."""
    with psycopg.connect(place.dsn()) as connection:
        ready = [b"".join(_copied(connection, batch)) for batch in batches]
        started = time.perf_counter()
        for text in ready:
            with connection.cursor() as cursor, cursor.copy("COPY floor_event FROM STDIN") as stream:
                stream.write(text)
            connection.commit()
        return sum(map(len, batches)) / (time.perf_counter() - started)


def _copied(connection: psycopg.Connection, batch: Sequence[Row]) -> Iterator[bytes]:
    """A batch in COPY's text format, written by a transaction that is rolled back."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE ready (LIKE floor_event) ON COMMIT DROP")
        with cursor.copy("COPY ready FROM STDIN") as stream:
            for row in batch:
                stream.write_row(row)
        with cursor.copy("COPY ready TO STDOUT") as lines:
            yield from (bytes(line) for line in lines)
    connection.rollback()


def copy_batches(number: int, rows: int) -> list[list[Row]]:
    """Batches of rows as the product has stored them lately, under ids of their own."""
    with psycopg.connect(place.dsn()) as connection:
        cursor = connection.execute(
            "SELECT * FROM billing_usageevent WHERE received_at > now() - interval '1 hour' LIMIT %s", [rows]
        )
        names = [column.name for column in cursor.description or ()]
        stored = cursor.fetchall()
    fields = {name: names.index(name) for name in ("event_id", "properties")}
    batches = []
    for _ in range(number):
        batch = [list(row) for row in stored]
        for row in batch:
            row[fields["event_id"]] = str(uuid.uuid4())
            row[fields["properties"]] = json.dumps(row[fields["properties"]])
        batches.append([tuple(row) for row in batch])
    return batches
