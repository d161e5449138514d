"""Batches of usage events: how fast they go in, against plain COPY, and whether what is stored slows them down."""

import csv
import json
import random
import statistics
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle

import psycopg

from tests.benchmarks import place
from tests.benchmarks.floors import copy_batches, copy_bytes_rate, copy_rate
from tests.benchmarks.load import drive, request
from tests.benchmarks.measuring import Processors, Result, Scale, compare

ROWS = 1000
ACCOUNTS = 100
TRACE = place.ROOT.parent / "shared/data/azure_llm_2023_code.csv"


def token_pairs() -> Iterator[tuple[int, int]]:
    """Context and generated tokens of requests, without end: of the real trace where it lies beside the checkout."""
    if TRACE.exists():
        with TRACE.open(newline="") as file:
            pairs = [(int(row["ContextTokens"]), int(row["GeneratedTokens"])) for row in csv.DictReader(file)]
    else:
        chance = random.Random(1)
        pairs = [(int(chance.lognormvariate(7, 1.3)), int(chance.lognormvariate(3, 1))) for _ in range(5000)]
    return cycle(pairs)


_tokens = token_pairs()


def make_batch(names: list[str], *, ordered_ids: bool = False) -> list[dict[str, object]]:
    """A thousand events of the last minute, over all names."""
    now = datetime.now(UTC) - timedelta(seconds=30)
    stamp, events = time.time_ns(), []
    for number in range(0, ROWS, 2):
        used = next(_tokens)
        for meter, tokens in zip(("context-tokens", "generated-tokens"), used, strict=True):
            index = number + (meter == "generated-tokens")
            events.append(
                {
                    "id": f"evt-{stamp:020d}-{index:04d}" if ordered_ids else str(uuid.uuid4()),
                    "account": names[number // 2 % len(names)],
                    "meter": meter,
                    "quantity": tokens,
                    "occurred_at": (now + timedelta(milliseconds=number)).isoformat(),
                }
            )
    return events


def against_copy(scale: Scale, names: list[str], web: place.Web) -> list[Result]:
    """The whole way over HTTP, and the domain's part of it, against COPY of the same rows by one client."""
    results = [_over_http(scale, names, web, clients=clients) for clients in (1, 2)]
    domain = compare(
        f"batches of {ROWS:,} in the domain, 1 thread",
        rounds=scale.rounds,
        product=lambda: _take(scale.batches, names),
        floor=lambda: copy_rate(copy_batches(scale.batches, ROWS)),
        unit=" events/s",
    )
    ready = statistics.median(copy_bytes_rate(copy_batches(scale.batches, ROWS)) for _ in range(scale.rounds))
    note = "for comparison: what the server alone can take"
    return [*results, domain, Result("COPY of bytes that lie ready", " events/s", ready, note=note)]


def _over_http(scale: Scale, names: list[str], web: place.Web, *, clients: int, ordered_ids: bool = False) -> Result:
    spent = Processors(web=place.web_pids, database=place.database_pids)

    def post() -> float:
        batches = [make_batch(names, ordered_ids=ordered_ids) for _ in range(scale.batches)]
        return spent.count(lambda: (_send(web, batches, clients=clients), len(batches)))

    post()  # COPY needs rows to copy.
    return compare(
        f"batches of {ROWS:,} over HTTP, {clients} at a time",
        rounds=scale.rounds,
        product=post,
        floor=lambda: copy_rate(copy_batches(scale.batches, ROWS)),
        unit=" events/s",
        bar=0.25 if clients == 1 else None,
        least=10_000,
        note=lambda: str(spent),
    )


def _take(number: int, names: list[str]) -> float:
    """Events per second of so many batches, in this process."""
    from billing.metering import ingest

    batches = [make_batch(names) for _ in range(number)]
    started = time.perf_counter()
    for batch in batches:
        done = ingest.take_events(events=batch, now=datetime.now(UTC))
        if done.accepted != ROWS:
            raise RuntimeError(f"{done.rejected} events of a batch were rejected")
    return number * ROWS / (time.perf_counter() - started)


def _send(web: place.Web, batches: list[list[dict[str, object]]], *, clients: int) -> float:
    """Events per second of these batches over HTTP."""
    requests = [request("POST", "/api/v1/events", web.key, json.dumps(batch).encode()) for batch in batches]
    return len(batches) * ROWS / drive(web.port, requests, concurrency=clients).seconds


def with_stored_events(scale: Scale, names: list[str], web: place.Web) -> list[Result]:
    """The rate over HTTP as the table grows, by ids that come in order and by random ones, to the empty table's.

    Minutes lie between the sizes, so each is first related to COPY into a small table at its own time.
    """
    results: list[Result] = []
    empty: dict[bool, float] = {}
    stored = 0
    for number in (0, *scale.stored):
        fill(number - stored, names)
        stored = number
        for ordered in (True, False):
            found = _over_http(scale, names, web, clients=1, ordered_ids=ordered)
            share = found.product / (found.floor or 1)
            name = f"batches, {'ordered' if ordered else 'random'} ids, {number:,} events stored"
            grown = share / empty.setdefault(ordered, share)
            bar = 0.8 if number == 5_000_000 else None
            note = f"to the empty table; {found.note}"
            results.append(replace(found, name=name, ratio=grown, bar=bar, least=None, note=note))
    return results


def fill(number: int, names: list[str]) -> None:
    """Put events into the table by the server itself, spread over the accounts, in the order of its key."""
    if not number:
        return
    with psycopg.connect(place.dsn(), autocommit=True) as connection:
        connection.execute(
            """
            INSERT INTO billing_usageevent (account_id, event_id, source, meter_id, pool_id, quantity, counted,
                properties, occurred_at, received_at, late, credits, unit_cost, burn_offset, period_starts_at,
                fingerprint)
            SELECT a.id, md5(random()::text)::uuid::text, '', 1, p.id, 1500, 1500, '{}', moment, moment, false,
                1.5, 0, 0, date_trunc('month', moment), '\\x00112233445566778899aabbccddeeff'
            FROM billing_account a JOIN billing_creditpool p ON p.account_id = a.id,
                generate_series(1, %s) AS n, LATERAL (SELECT now() - interval '30 days') AS t(moment)
            WHERE a.external_id = ANY(%s) ORDER BY 1, 2
            """,
            [number // len(names), names],
        )
        connection.execute("VACUUM ANALYZE billing_usageevent")
        connection.execute("CHECKPOINT")
