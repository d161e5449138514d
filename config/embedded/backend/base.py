"""Start the embedded PostgreSQL on the first connection, whatever process makes it.

Done here and not in settings, so that `help`, a type checker or a test collection that never connects starts nothing.
"""

from functools import cache
from typing import Any

from config.database import base
from config.embedded import PostgresServer
from config.embedded.postgres import DATABASE


@cache
def server(profile: str) -> PostgresServer:
    """This process's handle on the server of the profile."""
    return PostgresServer(profile)


class DatabaseWrapper(base.DatabaseWrapper):
    """The wrapper of all connections; only the making of a connection is preceded by `ensure`."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect, after the server of the profile named in the settings answers."""
        server(self.settings_dict["EMBEDDED_PROFILE"]).ensure()
        return super().get_new_connection(conn_params)


def embedded_database(profile: str, role: str) -> dict[str, Any]:
    """Django's settings for the embedded PostgreSQL of the profile; starts nothing."""
    return {
        "ENGINE": "config.embedded.backend",
        "EMBEDDED_PROFILE": profile,
        "NAME": DATABASE,
        "USER": role,
        "PASSWORD": "",
        "HOST": str(server(profile).socket_dir),
        "PORT": "5432",
        "OPTIONS": {},
    }
