"""Undoing what a test has done, so that it can begin again with what was expensive to make."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from django.db import connection, transaction

Case = TypeVar("Case")


@contextmanager
def undone() -> Iterator[None]:
    """Undo what the block writes, after checking the constraints that are deferred until a transaction's end."""
    around = transaction.atomic()
    # As Django's TestCase marks its own: what must be the outermost transaction may begin inside of it.
    around._from_testcase = True  # type: ignore[attr-defined]
    with around:
        yield
        connection.check_constraints()
        transaction.set_rollback(True)


def check_each(cases: Sequence[Case], check: Callable[[Case], object]) -> None:
    """Check every case, each of them beginning with the same rows; fail with all that went wrong."""
    assert cases
    failures = []
    for case in cases:
        try:
            with undone():
                check(case)
        except Exception as failure:
            failure.add_note(f"In the case {case!r}.")
            failures.append(failure)
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(cases)} cases went wrong", failures)
