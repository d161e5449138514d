"""The two locks: complete under their own requirements on every supported Python, hashed, and without an address."""

import ast
import importlib.metadata
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK, DEVELOPMENT_LOCK = ROOT / "requirements.txt", ROOT / "tests/requirements.txt"
PYTHONS = ("3.11.0", "3.11.9", "3.12.0", "3.13.0", "3.14.0")
# For old Pythons or other systems, so not installed here, where their metadata could be read. They require nothing.
ELSEWHERE = {"async-timeout", "colorama", "tzdata"}


def project() -> dict[str, list[str]]:
    """What pyproject.toml asks for, by lock."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run = found["project"]["dependencies"]
    return {LOCK.name: run, "development": [*run, *found["dependency-groups"]["dev"]]}


def locked(lock: Path) -> dict[str, Requirement]:
    """What a lock pins, by name."""
    lines = (line.rstrip("\\ ") for line in lock.read_text().splitlines() if line[:1].isalnum())
    return {canonicalize_name(found.name): found for found in map(Requirement, lines)}


def environment(python: str, machine: str) -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": "linux",
    }


def gaps(wanted: Iterable[str], lock: dict[str, Requirement], target: dict[str, str]) -> Iterator[str]:
    """What is required, directly or through others and their extras, and not pinned; and what is pinned for nothing."""
    waiting, seen = [Requirement(text) for text in wanted], set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        pin = lock.get(name)
        if (
            pin is None
            or not applies(pin, target)
            or not requirement.specifier.contains(version(pin), prereleases=True)
        ):
            yield f"{requirement} is required, but the lock has {pin}"
            continue
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                parts = [] if name in ELSEWHERE else importlib.metadata.requires(name) or []
                waiting += [part for part in map(Requirement, parts) if applies(part, {**target, "extra": extra})]
    needed = {name for name, _ in seen}
    yield from (
        f"{pin} is pinned for nothing" for name, pin in lock.items() if applies(pin, target) and name not in needed
    )


def applies(requirement: Requirement, target: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": "", **target})


def version(pin: Requirement) -> str:
    return str(pin.specifier).removeprefix("==")


@pytest.mark.parametrize("name", [LOCK.name, "development"])
def test_a_lock_is_closed_under_its_own_requirements_on_every_python(name):
    lock = locked(LOCK if name == LOCK.name else DEVELOPMENT_LOCK)
    targets = [environment(python, machine) for python in PYTHONS for machine in ("x86_64", "aarch64")]
    assert {gap for target in targets for gap in gaps(project()[name], lock, target)} == set()


@pytest.mark.parametrize("missing", ["coverage", "kombu", "redis", "fido2"])
def test_a_lock_that_misses_a_requirement_or_one_of_an_extra_is_noticed(missing):
    lock = locked(DEVELOPMENT_LOCK)
    del lock[missing]
    assert any(gap.startswith(missing) for gap in gaps(project()["development"], lock, environment("3.13.0", "x86_64")))


def test_what_is_installed_here_is_what_the_lock_says():
    pins = locked(DEVELOPMENT_LOCK)
    assert len(pins) > 100
    assert {
        name: importlib.metadata.version(name) for name in pins if name not in ELSEWHERE
    } == {name: version(pin) for name, pin in pins.items() if name not in ELSEWHERE}  # fmt: skip


def test_development_has_all_that_running_has_in_the_same_versions():
    run, development = locked(LOCK), locked(DEVELOPMENT_LOCK)
    assert len(run) > 50
    assert {name: version(pin) for name, pin in run.items()}.items() <= {
        name: version(pin) for name, pin in development.items()
    }.items()


@pytest.mark.parametrize("lock", [LOCK, DEVELOPMENT_LOCK], ids=["run", "development"])
def test_every_package_of_a_lock_is_pinned_and_hashed_and_no_address_is_named(lock):
    text = lock.read_text()
    entries = re.split(r"\n(?=[a-z0-9])", text)
    assert all(re.match(r"[a-z0-9.-]+==\S+[^\n]* \\\n    --hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert "://" not in text
    assert "--index" not in text


def test_nothing_is_declared_that_nothing_uses():
    used = set()
    for folder in ("billing", "portal", "config"):
        for file in (ROOT / folder).rglob("*.py"):
            used.update(modules(ast.parse(file.read_text())))
    by_module = importlib.metadata.packages_distributions()
    names = {canonicalize_name(name) for module in used for name in by_module.get(module, ())}
    declared = {canonicalize_name(Requirement(text).name) for text in project()[LOCK.name]}
    assert declared - names == set()


def modules(tree: ast.Module) -> Iterator[str]:
    """The outermost names of the modules that are imported, or named in a text as installed apps and programs are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.partition(".")[0]
