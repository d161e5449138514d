"""Where Florin keeps what it writes on this machine, and under which account its servers run.

Everything here only computes: nothing is created, so settings may ask without side effects.
"""

import hashlib
import os
import pwd
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
# sun_path has 108 bytes with its final NUL; PostgreSQL adds "/.s.PGSQL.5432" to the folder's name.
SOCKET_DIRECTORY_BYTES = 107 - len("/.s.PGSQL.5432")


@dataclass(frozen=True)
class Account:
    """The operating-system account a server runs under."""

    uid: int
    gid: int


def checkout_key() -> str:
    """Eight characters that tell this checkout from others on the machine."""
    return hashlib.sha256(os.fsencode(ROOT)).hexdigest()[:8]


def state_dir() -> Path:
    """The folder for logs, mail, secrets and data: `var/`, or a private one when `var/` is somebody else's.

    FLORIN_VAR names another. A checkout that one user started and another user starts later must work for both, so
    the second gets a folder in his own home (or, without a home, under the temporary folder).
    """
    if named := os.environ.get("FLORIN_VAR"):
        return Path(named).resolve()
    candidates = [ROOT / "var"]
    if os.geteuid() == 0:
        candidates.append(Path("/var/lib") / f"florin-{checkout_key()}")
    elif home := os.environ.get("XDG_STATE_HOME") or os.environ.get("HOME"):
        base = Path(home) if os.environ.get("XDG_STATE_HOME") else Path(home) / ".local/state"
        candidates.append(base / f"florin-{checkout_key()}")
    for candidate in candidates:
        if _is_mine(candidate):
            return candidate
    return Path(tempfile.gettempdir()) / f"florin-{os.geteuid()}-{checkout_key()}"


def servers_dir() -> Path:
    """The folder that holds the servers' folders: the state folder where their account can reach it.

    Root may keep a checkout below a folder of mode 0700, which no other account can pass. Opening it to everyone is
    not ours to do, so the servers then live in /var/lib.
    """
    state = state_dir()
    if os.geteuid() == 0 and not passable(state):
        return Path("/var/lib") / f"florin-{checkout_key()}"
    return state


def server_account(home: Path) -> Account:
    """The account for the server whose folder is `home`: ourselves, or an unprivileged one when we are root.

    A folder that already belongs to an ordinary account keeps it.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if home.exists() and (owner := home.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    return Account(65534, 65534)


def socket_dir(home: Path, name: str) -> Path:
    """The folder for the server's socket: inside `home`, or a short path when that one is too long for a socket."""
    inside = home / "run"
    if len(os.fsencode(inside)) <= SOCKET_DIRECTORY_BYTES:
        return inside
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # The servers of root run under another account, which has no business in root's runtime folder.
    use_runtime = os.geteuid() != 0 and runtime and len(runtime) < 40 and _is_mine(Path(runtime))
    return Path(runtime if use_runtime else "/tmp") / f"florin-{os.geteuid()}-{checkout_key()}-{name}"  # noqa: S108


def passable(path: Path) -> bool:
    """Whether every account may pass through all folders above `path` and into it (folders not made yet count)."""
    return all(not folder.exists() or folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _is_mine(folder: Path) -> bool:
    """Whether the folder is ours to write in, or ours to make."""
    if folder.exists():
        return folder.stat().st_uid == os.geteuid() and os.access(folder, os.W_OK | os.X_OK)
    parent = next(parent for parent in folder.parents if parent.exists())
    return os.access(parent, os.W_OK | os.X_OK)
