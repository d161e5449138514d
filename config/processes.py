"""How the web process is started, and processes that belong to a parent: the demo leaves none behind."""

import ctypes
import os
import signal
import sys

from config.embedded.keeper import PR_SET_PDEATHSIG

# Two processes for two cores. A thread that waits costs next to nothing, and the more charges wait, the more of them
# share a transaction: at 64 clients a charge costs half the processor time with 32 threads that it costs with 4. Each
# thread keeps a database connection.
WEB_WORKERS = 2
WEB_THREADS = 32
# A process that has not ended by then is killed: one that still starts does not hear that it should end.
WEB_STOP_SECONDS = 10


def web_command(port: int, application: str = "config.wsgi:application") -> list[str]:
    """The module and arguments, after `python -m`, of a web server on this machine's loopback."""
    options = ["--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--no-ws"]
    options += ["--workers", str(WEB_WORKERS), "--blocking-threads", str(WEB_THREADS)]
    return ["granian", *options, "--workers-kill-timeout", str(WEB_STOP_SECONDS), application]


def end_with_parent() -> None:
    """In a demo's process: have the kernel end it with its parent. Elsewhere a supervisor sees to that: nothing."""
    if os.environ.get("FLORIN_END_WITH_PARENT") == "1" and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
