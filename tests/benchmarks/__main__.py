"""Run the benchmarks and tell the figures: `manage.py benchmark`, or `python -m tests.benchmarks` from the checkout."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace

from tests.benchmarks import place
from tests.benchmarks.balances import reads
from tests.benchmarks.charges import against_bare, in_the_domain, one_pool_against_many
from tests.benchmarks.expiries import expiries
from tests.benchmarks.floors import make_floor_tables
from tests.benchmarks.ingest import ACCOUNTS, against_copy, with_stored_events
from tests.benchmarks.measuring import FULL, QUICK, Result, Scale, as_json, as_table, machine_facts
from tests.benchmarks.renewals import renewals

BENCHMARKS: dict[str, Callable[[Scale, list[str], place.Web], list[Result]]] = {
    "batches": against_copy,
    "charges": against_bare,
    "domain": in_the_domain,
    "hot-pool": one_pool_against_many,
    "balance": reads,
    "expiries": expiries,
    "renewals": renewals,
    # Last, for it leaves the tables large.
    "growth": with_stored_events,
}


def main() -> int:
    """Returns 0 when everything ran, whatever the figures; a missed bar is told, not an error."""
    parser = argparse.ArgumentParser(prog="manage.py benchmark", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it runs, not how fast Florin is")
    parser.add_argument("--json", action="store_true", help="answer in JSON on stdout")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="one benchmark; may be repeated")
    parser.add_argument("--rounds", type=int, help="rounds of each (default 5)")
    options = parser.parse_args()
    scale = QUICK if options.quick else FULL
    if options.rounds:
        scale = replace(scale, rounds=options.rounds)
    results: list[Result] = []
    with place.database():
        facts = machine_facts()
        place.make_catalog()
        names = place.make_accounts(scale.accounts, prefix="org")
        make_floor_tables()
        with place.web_server(place.make_key()) as web:
            for name, benchmark in BENCHMARKS.items():
                if options.only and name not in options.only:
                    continue
                sys.stderr.write(f"{name} ...\n")
                some = names[:ACCOUNTS] if name in ("batches", "growth") else names
                for result in benchmark(scale, some, web):
                    results.append(result)
    print(as_json(facts, results) if options.json else as_table(facts, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
