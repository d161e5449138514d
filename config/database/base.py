"""Pin each session's isolation level, whichever door opens it.

Django sets the level of transactions only. A single statement outside one runs at the database's default level, and
under `serializable` fails now and then for reasons that nobody there expects.
"""

from django.db.backends.postgresql import base

from billing.checks import ISOLATION_LEVEL, refuse_isolation_level


class DatabaseWrapper(base.DatabaseWrapper):
    """The stock wrapper, whose sessions are READ COMMITTED throughout."""

    def init_connection_state(self) -> None:
        """Pin the level, in one round trip. In production another default is refused: behind a pooler that shares
        sessions, what is pinned may get lost."""
        super().init_connection_state()
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('default_transaction_isolation'),"
                " set_config('default_transaction_isolation', %s, false)",
                [ISOLATION_LEVEL],
            )
            (default, _) = cursor.fetchone()
        try:
            refuse_isolation_level(default)
        except Exception:
            self.connection.close()
            self.connection = None
            raise
