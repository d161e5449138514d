"""Undoing what a test has done, so that it can begin again with what was expensive to make."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


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
