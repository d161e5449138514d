"""A checkout of today installed tomorrow: pip meets newer releases of what the lock names, and installs the lock."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Each asks for the next one with an extra, in a version or newer: what made pip look for the newest release.
NAMES = [f"florin-part-{letter}" for letter in "abcdefghij"]


def make_wheel(folder: Path, name: str, version: str, requires: str = "") -> Path:
    """An empty package."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    requirement = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(f"{module}.py", f"version = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirement}")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", f"{info}/RECORD,,\n")
    return wheel


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose lock names ten packages, and an index that has each of them and a newer release of each."""
    (tmp_path / "manage.py").write_bytes((ROOT / "manage.py").read_bytes())
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["florin-part-a"]\n[dependency-groups]\ndev = []\n'
    )
    index, lock = tmp_path / "index", []
    for name, following in zip(NAMES, [*NAMES[1:], ""], strict=True):
        requires = f"{following}[more]>=1.0" if following else ""
        for version in ("1.0", "2.0"):
            (index / name).mkdir(parents=True, exist_ok=True)
            wheel = make_wheel(index / name, name, version, requires)
            if version == "1.0":
                lock.append(f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
        links = "".join(f'<a href="{file.name}">{file.name}</a>\n' for file in (index / name).iterdir())
        (index / name / "index.html").write_text(links)
    (tmp_path / "requirements.txt").write_text("".join(lock))
    return tmp_path


def install(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Let manage.py install the lock from that index alone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "COV", "PYTEST"))}
    environment |= {"PIP_INDEX_URL": (checkout / "index").as_uri(), "PIP_CONFIG_FILE": os.devnull}
    program = "import manage; manage.install(manage.LOCK)"
    return subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(checkout)!r}); {program}"],
        env=environment, cwd=checkout, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.smoke  # Only the pip of older Pythons makes the difference.
def test_newer_releases_change_nothing_of_what_is_installed(checkout):
    done = install(checkout)
    assert done.returncode == 0, done.stderr
    found = sorted(path.name for path in (checkout / ".venv").glob("lib/python*/site-packages/florin_part_*.dist-info"))
    assert found == [f"{name.replace('-', '_')}-1.0.dist-info" for name in NAMES]
