"""Run one server for as long as somebody uses it. A script of its own, standard library only: starts in 30 ms.

It inherits `keeper.lock`, held, and so holds it while it lives (a lock, not a process id: a zombie holds none). It
starts the server as its child, and asks for `users.lock` exclusively, which it gets when the last user has gone,
however that user went. Then it stops the server. New users meanwhile wait for their shared lock, so nobody meets a
server that is going away.
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
STOP_TIMEOUT_SECONDS = 30


def die_with_parent(number: int) -> Callable[[], None]:
    """A `preexec_fn`: the kernel sends the child the signal when its parent ends. Linux only, else it does nothing."""
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def arrange() -> None:
        if libc is None:
            return
        libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        # The parent may have been killed before the arrangement stood.
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def main() -> int:
    """Keep the server described by the JSON in the first argument; returns the server's exit code."""
    spec = json.loads(sys.argv[1])
    stop_signal = signal.Signals(spec["stop_signal"])
    with open(spec["log"], "ab") as log:
        server = subprocess.Popen(
            spec["command"],
            env=spec["environment"],
            cwd=spec["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # After the change of account: that change would cancel the arrangement.
            preexec_fn=die_with_parent(stop_signal),
            **({"user": spec["uid"], "group": spec["gid"], "extra_groups": []} if os.geteuid() == 0 else {}),
        )

    def stop(*_: object) -> None:
        server.send_signal(stop_signal)
        threading.Timer(STOP_TIMEOUT_SECONDS, server.kill).start()

    def stop_after_the_last_user() -> None:
        users_lock = os.open(spec["users_lock"], os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(users_lock, fcntl.LOCK_EX)
        stop()
        # Held until this process ends: whoever comes now waits, then starts a new server.
        server.wait()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=stop_after_the_last_user, daemon=True).start()
    return server.wait()


if __name__ == "__main__":
    # The threads may be blocked in the kernel; nothing of theirs needs finishing.
    os._exit(main() & 0xFF)
