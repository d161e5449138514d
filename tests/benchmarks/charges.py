"""Single charges over HTTP and in the domain, against a bare transaction of the same writes; one pool against many."""

import itertools
import json
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from tests.benchmarks import place
from tests.benchmarks.floors import BARE_CHARGE, BARE_USAGE, bare_transactions
from tests.benchmarks.load import drive, request
from tests.benchmarks.measuring import Processors, Result, Scale, compare

BARS = {8: 0.4, 64: 1.0}
CONCURRENCY = (1, 8, 32, 64)

_numbers = itertools.count(1)


def requests_for(names: Sequence[str], key: str, *, metered: bool) -> list[bytes]:
    """A charge for each account, with an id that no other has."""
    run = f"{time.time_ns()}-{next(_numbers)}"
    usage: dict[str, object] = {"meter": "context-tokens", "quantity": "1500"} if metered else {"credits": "1.5"}
    bodies = [{"id": f"{run}-NUMBER", "account": name, **usage} for name in names]
    return [
        request(
            "POST", "/api/v1/charges", key, json.dumps(body).encode().replace(b"NUMBER", b"%(number)010d"), numbers=1
        )
        for body in bodies
    ]


def against_bare(scale: Scale, names: list[str], web: place.Web) -> list[Result]:
    """Over HTTP: bare credits (four writes), and usage of a meter (three more)."""
    return [
        _over_http(scale, names, web, metered=metered, concurrency=concurrency)
        for metered in (False, True)
        for concurrency in CONCURRENCY
    ]


def _over_http(scale: Scale, names: list[str], web: place.Web, *, metered: bool, concurrency: int) -> Result:
    spent = Processors(web=place.web_pids, database=place.database_pids)

    def charge() -> tuple[float, int]:
        requests = requests_for(names, web.key, metered=metered)
        load = drive(web.port, requests, concurrency=concurrency, seconds=scale.seconds)
        return load.per_second, load.answers

    statements = BARE_USAGE if metered else BARE_CHARGE
    return compare(
        f"charge of {'usage' if metered else 'credits'} over HTTP, concurrency {concurrency}",
        rounds=scale.rounds,
        product=lambda: spent.count(charge),
        floor=lambda: bare_transactions(statements, concurrency=concurrency, seconds=scale.seconds),
        bar=BARS.get(concurrency),
        note=lambda: str(spent),
    )


def in_the_domain(scale: Scale, names: list[str], web: place.Web) -> list[Result]:
    """Threads of one process that call the domain, grouped as in a web worker."""
    return [
        compare(
            f"charge of credits in the domain, {concurrency} threads", rounds=scale.rounds,
            product=lambda concurrency=concurrency: _charge_in_threads(names, concurrency, scale.seconds),
            floor=lambda concurrency=concurrency: bare_transactions(
                BARE_CHARGE, concurrency=concurrency, seconds=scale.seconds
            ),
        )
        for concurrency in (1, 8, 64)
    ]  # fmt: skip


def _charge_in_threads(names: list[str], concurrency: int, seconds: float) -> float:
    from django.db import connection

    from billing.metering import ingest

    done, run = [0] * concurrency, time.time_ns()
    started = 0.0

    def begin() -> None:
        nonlocal started
        started = time.perf_counter()

    # The time begins when all are connected, which takes longer than a quick look lasts.
    ready = threading.Barrier(concurrency, action=begin)

    def charge(thread: int) -> None:
        connection.ensure_connection()
        ready.wait()
        try:
            while not done[thread] or time.perf_counter() < started + seconds:
                number = next(_numbers)
                asked = ingest.ChargeRequest(
                    account=names[number % len(names)], id=f"{run}-{number}", credits=Decimal("1.5")
                )
                ingest.charge(request=asked, now=datetime.now(UTC))
                done[thread] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=charge, args=(index,)) for index in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - started)


def one_pool_against_many(scale: Scale, names: list[str], web: place.Web) -> list[Result]:
    """The throughput of one busy pool, to that of as many requests over all pools."""

    def rate(pools: list[str]) -> float:
        requests = requests_for(pools, web.key, metered=False)
        return drive(web.port, requests, concurrency=64, seconds=scale.seconds).per_second

    hot = compare(
        "one hot pool over HTTP, concurrency 64",
        rounds=scale.rounds,
        product=lambda: rate(names[:1]),
        floor=lambda: rate(names),
        bar=0.8,
        note=lambda: "floor: many pools",
    )
    return [hot]
