"""Makes commands that must not run concurrently take turns."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def one_at_a_time(connection: BaseDatabaseWrapper, lock: int) -> Iterator[None]:
    """Hold the session's advisory lock of this number during the block, waiting for it first.

    Not released when the block leaves a transaction that failed or a closed connection: then the session's end does it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [lock])
    try:
        yield
    finally:
        if connection.connection is not None and not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [lock])
