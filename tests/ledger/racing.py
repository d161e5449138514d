"""Running acts in many threads at once, each with its own connection."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import connection


def race(workers: Sequence[Callable[[], None]], *, expected: tuple[type[Exception], ...] = ()) -> Counter[str]:
    """Start all workers at the same moment; how many ended well (`done`), or with which of the expected exceptions.

    Any other exception is raised here.
    """
    barrier = threading.Barrier(len(workers))

    def run(work: Callable[[], None]) -> str:
        try:
            barrier.wait(timeout=60)
            work()
            return "done"
        except expected as error:
            return type(error).__name__
        finally:
            connection.close()

    with ThreadPoolExecutor(len(workers)) as threads:
        return Counter(threads.map(run, workers))


def repeated(act: Callable[[int], object], times: int, outcomes: Counter[str], *refusals: type[Exception]) -> None:
    """Do an act several times in this thread, counting how each went."""
    for number in range(times):
        try:
            act(number)
            outcomes["done"] += 1
        except refusals as error:
            outcomes[type(error).__name__] += 1
