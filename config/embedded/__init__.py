"""PostgreSQL and a broker for people who have neither: started on demand, stopped when nobody uses them.

Nouns: a *server* is one PostgreSQL or Valkey of one *profile* (demo, test, benchmark) with its own folder, a *user* is
a process that holds the server's shared lock, a *keeper* is the small process that owns one running server.

Promises
- `Server.ensure()` returns only when the server answers; it may be called at any time, by any number of processes.
- A server lives exactly as long as some user does. The kernel counts the users (shared flock), so a user that is
  killed is counted out too: whoever starts a server never has to be the one who stops it.
- Nothing is left behind: the keeper stops the server after the last user, and the kernel tells the server when its
  keeper is killed. The next start clears away what a kill of everything left on disk.
- No TCP, no password: a unix socket in a folder of mode 0700. As root the servers run under an unprivileged account.

Boundaries: knows nothing of Django but `backend/`, which starts PostgreSQL on the first connection. Production never
comes here: with DATABASE_URL and CELERY_BROKER_URL set, nothing in this package runs.
"""

from config.embedded.postgres import PostgresServer
from config.embedded.server import EmbeddedServerError, Server
from config.embedded.valkey import ValkeyServer

__all__ = ["EmbeddedServerError", "PostgresServer", "Server", "ValkeyServer"]
