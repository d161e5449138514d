"""One embedded server: who uses it, who starts it, how it is cleared away after a kill. See the package's docstring."""

import atexit
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from config.embedded import places

START_TIMEOUT_SECONDS = 60
LOG_LIMIT_BYTES = 5_000_000


class EmbeddedServerError(RuntimeError):
    """An embedded server could not be started; the message says which and why."""


class Server(ABC):
    """A server in its own folder. Subclasses say how it is prepared, started and asked whether it answers."""

    stop_signal = signal.SIGTERM

    def __init__(self, name: str, servers_dir: Path | None = None) -> None:
        self.name = name
        self.home = (servers_dir or places.servers_dir()) / name
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        self.socket_dir = places.socket_dir(self.home, name)
        self._account: places.Account | None = None
        self._use: int | None = None
        self._guard = threading.Lock()

    @property
    def account(self) -> places.Account:
        """The account the server runs under."""
        if self._account is None:
            self._account = places.server_account(self.home)
        return self._account

    def ensure(self) -> None:
        """Return when the server answers, starting it if need be; this process uses it until `release` or its end.

        Safe to call from several threads and processes at once, and cheap when the server runs.
        Raises EmbeddedServerError with the end of the server's log when it cannot be started.
        """
        with self._guard:
            self._begin_use()
            if self._is_ready():
                return
            with self._locked("start.lock"):
                if not self._is_ready():
                    self._start()

    def release(self) -> bool:
        """End this process's use and wait for the server to stop; False when others still use it."""
        with self._guard:
            if self._use is not None:
                os.close(self._use)
                self._use = None
        return self.wait_stopped()

    def wait_stopped(self, timeout_seconds: float = 40) -> bool:
        """Wait while the server stops after its last user has gone; False when it runs on, for others use it."""
        if not self.home.exists():
            return True
        deadline = time.monotonic() + timeout_seconds
        others_until = time.monotonic() + 0.5
        while self._is_kept() and time.monotonic() < deadline:
            # While the keeper stops the server it holds the users' lock; if we could still take it, others use it.
            if self._is_free("users.lock", fcntl.LOCK_SH) and time.monotonic() > others_until:
                return False
            time.sleep(0.03)
        return not self._is_kept()

    def reset(self) -> None:
        """Delete the server's data. Raises EmbeddedServerError when another process uses the server."""
        if not self.home.exists():
            return
        if not self.release():
            raise EmbeddedServerError(f"{self.name} is in use by another Florin process; stop that one first.")
        with self._locked("start.lock"):
            self._end_strays()
            shutil.rmtree(self.data, ignore_errors=True)

    def trim_log(self) -> None:
        """Keep the server's log short, while it runs."""
        rotate(self.log)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the server's log, for error messages."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @abstractmethod
    def prepare(self) -> None:
        """Make the data folder ready for a start. Nobody else starts the server meanwhile."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server accepts connections now."""

    def provision(self) -> None:
        """Make what the server must contain before anybody uses it; must be repeatable."""
        return

    def run(self, command: list[str]) -> None:
        """Run a program of the server's under its account; EmbeddedServerError with its output when it fails."""
        result = subprocess.run(
            command,
            env=self._environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self._as_account(),
        )
        if result.returncode != 0:
            raise EmbeddedServerError(f"{command[0]} failed with code {result.returncode}:\n{result.stdout.strip()}")

    def make_folder(self, folder: Path) -> None:
        """Make a folder of mode 0700 that belongs to the server's account, or check that it is one."""
        folder.mkdir(mode=0o700, parents=False, exist_ok=True)
        if os.geteuid() == 0 and not folder.is_symlink() and folder.stat().st_uid == 0:
            os.chown(folder, self.account.uid, self.account.gid)
        if folder.is_symlink() or folder.stat().st_uid != self.account.uid:
            raise EmbeddedServerError(f"{folder} belongs to somebody else; remove it or set FLORIN_VAR to a folder.")
        folder.chmod(0o700)

    def _begin_use(self) -> None:
        if self._use is not None:
            return
        make_passable_folder(self.home.parent)
        self.make_folder(self.home)
        self._use = os.open(self.home / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        # Waits while a keeper is stopping the server, so that we never meet one that is going away.
        fcntl.flock(self._use, fcntl.LOCK_SH)
        atexit.register(self.release)

    def _start(self) -> None:
        if not self._is_kept():
            (self.home / "ready").unlink(missing_ok=True)
            self._end_strays()
            for folder in (self.data.parent, self.socket_dir):
                self.make_folder(folder)
            self._hand_over_data()
            self.prepare()
            self._spawn_keeper()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self.answers():
            if not self._is_kept() or time.monotonic() > deadline:
                raise EmbeddedServerError(f"{self.name} did not start. The end of {self.log}:\n{self.log_tail()}")
            time.sleep(0.02)
        self.provision()
        (self.home / "ready").touch()

    def _spawn_keeper(self) -> None:
        rotate(self.log)
        spec = {
            "command": self.command(),
            "environment": self._environment(),
            "cwd": str(self.data),
            "log": str(self.log),
            "users_lock": str(self.home / "users.lock"),
            "stop_signal": int(self.stop_signal),
            "uid": self.account.uid,
            "gid": self.account.gid,
        }
        keeper = Path(__file__).with_name("keeper.py")
        # A grandchild: nobody here has to wait for it, and a signal to our process group does not reach it.
        launcher = "import os, sys; os.fork() and os._exit(0); os.setsid(); os.execv(sys.executable, sys.argv[1:])"
        program = [sys.executable, "-I", "-S", str(keeper), json.dumps(spec)]
        # The keeper inherits the lock already held: there is no moment in which it lives and nobody can tell.
        with self._locked("keeper.lock") as lock, self.log.open("ab") as log:
            subprocess.run(
                [sys.executable, "-I", "-S", "-c", launcher, *program],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                check=True,
            )

    def _end_strays(self) -> None:
        """End processes of an earlier server whose keeper was killed: they are known by their working folder."""
        for number in (self.stop_signal, signal.SIGQUIT, signal.SIGKILL):
            pids = processes_in(self.data)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + 10
            while processes_in(self.data) and time.monotonic() < deadline:
                time.sleep(0.05)

    def _hand_over_data(self) -> None:
        """As root: data of root (a checkout given to root with chown -R) goes to the server's account."""
        if os.geteuid() != 0 or not self.data.exists() or self.data.stat().st_uid == self.account.uid:
            return
        for path in (self.data, *self.data.rglob("*")):
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def _is_ready(self) -> bool:
        return self._is_kept() and (self.home / "ready").exists()

    def _is_kept(self) -> bool:
        """Whether a keeper lives. Asks its lock, not a process id: a zombie's id looks alive, its lock does not."""
        return not self._is_free("keeper.lock", fcntl.LOCK_SH)

    def _is_free(self, lock: str, mode: int) -> bool:
        with open(self.home / lock, "a") as file:
            try:
                fcntl.flock(file, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    @contextlib.contextmanager
    def _locked(self, lock: str) -> Iterator[int]:
        with open(self.home / lock, "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file.fileno()

    def _environment(self) -> dict[str, str]:
        # Fixed, so that a server never depends on who happened to start it.
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.home)}

    def _as_account(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}


def make_passable_folder(folder: Path) -> None:
    """Make a folder of ours that nobody else may read; as root, the servers' account may pass through it. Its parents
    stay as they are."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)


def rotate(log: Path) -> None:
    """Copy a log that has grown long to one older one, and empty it. Whoever writes to it keeps it open, to append."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        shutil.copyfile(log, log.with_suffix(f"{log.suffix}.1"))
        os.truncate(log, 0)


def processes_in(folder: Path) -> list[int]:
    """The living processes whose working folder is `folder`, zombies not counted; none where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
    return found
