"""Reading a balance: how long it takes the server, and that history does not matter."""

import statistics

import psycopg

from tests.benchmarks import place
from tests.benchmarks.load import Load, drive, request
from tests.benchmarks.measuring import Result, Scale


def reads(scale: Scale, names: list[str], web: place.Web) -> list[Result]:
    """Eight clients that read all the time, of an account with a short history and one with a long one."""
    results = []
    histories = {names[0]: 100, names[1]: scale.history}
    for name, postings in histories.items():
        add_history(name, postings)
    for name, postings in histories.items():
        requests = [request("GET", f"/api/v1/accounts/{name}/balance", web.key)]
        loads = [drive(web.port, requests, concurrency=8, seconds=scale.seconds) for _ in range(scale.rounds + 1)][1:]
        rate = statistics.median(load.per_second for load in loads)
        for share, most in ((0.5, None), (0.99, 10.0)):
            results.append(
                Result(
                    f"balance with {postings:,} postings, p{share * 100:.0f} in the server", " ms",
                    statistics.median(_share(load.server_times, share) for load in loads), most=most,
                    note=f"{rate:,.0f}/s, {_client(loads, share):.1f} ms at the client",
                )
            )  # fmt: skip
    return results


def _share(times: list[float], share: float) -> float:
    return 1000 * sorted(times)[int(len(times) * share)]


def _client(loads: list[Load], share: float) -> float:
    return statistics.median(_share(load.latencies, share) for load in loads)


def add_history(name: str, number: int) -> None:
    """Postings of a pool as a long life leaves them, copied by the server from its last spend."""
    with psycopg.connect(place.dsn(), autocommit=True) as connection:
        connection.execute(
            """
            WITH pool AS (
                SELECT p.id, p.version FROM billing_creditpool p JOIN billing_account a ON a.id = p.account_id
                WHERE a.external_id = %(name)s
            ), history AS (
                INSERT INTO billing_posting (pool_id, version, act, reference, credits, amount, balance_before,
                    balance_after, overdraft_after, posted_at, occurred_at, actor, note)
                SELECT pool.id, pool.version + n, 'spend', 'history:' || n, 1, -1, 10, 9, 0, now(), now(), '', ''
                FROM pool, generate_series(1, %(number)s) AS n RETURNING id, pool_id
            )
            INSERT INTO billing_ledgerentry (posting_id, line, grant_id, flow, amount)
            SELECT history.id, 1, (SELECT min(id) FROM billing_creditgrant WHERE pool_id = history.pool_id), 'spend', -1
            FROM history
            """,
            {"name": name, "number": number},
        )
        connection.execute(
            "UPDATE billing_creditpool p SET version = version + %s FROM billing_account a"
            " WHERE a.id = p.account_id AND a.external_id = %s",
            [number, name],
        )
