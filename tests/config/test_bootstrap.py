"""manage.py on a bare checkout: when it installs, what it repairs, what it leaves alone."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def manage(tmp_path: Path) -> ModuleType:
    """manage.py as a module that believes its checkout is `tmp_path`."""
    spec = importlib.util.spec_from_file_location("manage_under_test", ROOT / "manage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "tests").mkdir()
    for name in ("pyproject.toml", "requirements.txt", "tests/requirements.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    module.ROOT = str(tmp_path)
    module.VENV = str(tmp_path / ".venv")
    module.PYTHON = str(tmp_path / ".venv/bin/python")
    module.STAMP = str(tmp_path / ".venv/florin-lock-hash")
    return module


@pytest.fixture
def installs(manage: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would have been run; making the venv makes a folder with an interpreter."""
    names: list[str] = []

    def run(command: list[str], name: str, packages: int = 0) -> None:
        names.append(name)
        if name == "python -m venv":
            Path(manage.PYTHON).parent.mkdir(parents=True, exist_ok=True)
            Path(manage.PYTHON).symlink_to(sys.executable)

    monkeypatch.setattr(manage, "run", run)
    monkeypatch.setattr(manage, "check", lambda names: None)
    monkeypatch.setattr(manage, "venv_works", lambda: Path(manage.PYTHON).exists())
    return names


def own_venv(manage: ModuleType, stamp: str | None) -> None:
    """A .venv that exists, with the stamp or without."""
    Path(manage.PYTHON).parent.mkdir(parents=True)
    Path(manage.PYTHON).symlink_to(sys.executable)
    (Path(manage.VENV) / "kept").touch()
    if stamp is not None:
        Path(manage.STAMP).write_text(stamp)


def test_an_environment_that_has_the_packages_is_left_alone(manage):
    assert not manage.needs_installation(manage.DEVELOPMENT_LOCK)


def test_a_missing_package_is_found(manage):
    pyproject = Path(manage.ROOT) / "pyproject.toml"
    pyproject.write_text('[project]\ndependencies = ["Django", "no-such-package>=1", "also_missing[extra]~=2.0"]\n')
    assert manage.missing_packages(with_development=False) == ["no-such-package", "also_missing"]
    assert manage.needs_installation(manage.LOCK)


def test_development_packages_are_asked_for_only_when_testing(manage):
    pyproject = Path(manage.ROOT) / "pyproject.toml"
    pyproject.write_text('[project]\ndependencies = ["Django"]\n[dependency-groups]\ndev = ["no-such-package"]\n')
    assert not manage.needs_installation(manage.LOCK)
    assert manage.needs_installation(manage.DEVELOPMENT_LOCK)


def test_an_environment_that_is_asked_for_is_made_whatever_the_interpreter_has(manage, monkeypatch):
    monkeypatch.setenv("FLORIN_VENV", manage.VENV)
    assert manage.needs_installation(manage.LOCK)


def test_our_own_venv_is_out_of_date_when_the_lock_has_changed(manage, monkeypatch):
    own_venv(manage, stamp=manage.lock_hash(manage.LOCK))
    monkeypatch.setattr(sys, "prefix", manage.VENV)
    assert not manage.needs_installation(manage.LOCK)
    (Path(manage.ROOT) / "requirements.txt").write_text("another lock")
    assert manage.needs_installation(manage.LOCK)


def test_a_bare_checkout_gets_a_venv_and_the_packages(manage, installs):
    manage.install(manage.LOCK)
    assert installs == ["python -m venv", "pip install"]
    assert manage.stamp_has(manage.LOCK)


def test_a_complete_installation_is_not_repeated(manage, installs):
    own_venv(manage, stamp=manage.lock_hash(manage.LOCK))
    manage.install(manage.LOCK)
    assert installs == []


def test_tests_get_the_packages_of_development_too_and_the_demo_needs_no_other_installation(manage, installs):
    manage.install(manage.LOCK)
    manage.install(manage.DEVELOPMENT_LOCK)
    manage.install(manage.LOCK)
    assert installs == ["python -m venv", "pip install", "pip install"]


def test_a_failed_installation_for_tests_leaves_the_demo_working(manage, installs, monkeypatch):
    manage.install(manage.LOCK)
    monkeypatch.setattr(manage, "run", lambda *_: sys.exit(1))
    with pytest.raises(SystemExit):
        manage.install(manage.DEVELOPMENT_LOCK)
    assert manage.stamp_has(manage.LOCK)
    assert not manage.stamp_has(manage.DEVELOPMENT_LOCK)


def test_pip_is_told_to_check_hashes_and_to_resolve_nothing(manage, monkeypatch):
    commands = []
    monkeypatch.setattr(manage, "run", lambda command, *_: commands.append(command))
    monkeypatch.setattr(manage, "check", lambda names: None)
    own_venv(manage, stamp=None)
    manage.install(manage.DEVELOPMENT_LOCK)
    assert {"--no-deps", "--require-hashes"} <= set(commands[-1])
    assert commands[-1][-1].endswith("tests/requirements.txt")


def test_packages_that_do_not_fit_together_stop_the_installation(manage, monkeypatch, capsys):
    own_venv(manage, stamp=None)
    answer = (
        b"celery 5.7.0 requires kombu, which is not installed.\nsomebodys-own 1.0 requires x, which is not installed."
    )
    monkeypatch.setattr(manage.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, stdout=answer))
    with pytest.raises(SystemExit):
        manage.check({"celery"})
    manage.check({"django"})
    assert "celery 5.7.0 requires kombu" in capsys.readouterr().err


def test_a_killed_installation_is_thrown_away_and_made_again(manage, installs):
    own_venv(manage, stamp=manage.BUILDING)
    manage.install(manage.LOCK)
    assert installs == ["python -m venv", "pip install"]
    assert not (Path(manage.VENV) / "kept").exists()


def test_a_changed_lock_is_installed_into_the_same_venv(manage, installs):
    own_venv(manage, stamp="hash of an older lock")
    manage.install(manage.LOCK)
    assert installs == ["pip install"]
    assert (Path(manage.VENV) / "kept").exists()


def test_a_venv_that_somebody_made_himself_is_added_to_and_never_deleted(manage, installs):
    own_venv(manage, stamp=None)
    manage.install(manage.LOCK)
    assert installs == ["pip install"]
    assert (Path(manage.VENV) / "kept").exists()


def test_a_failed_installation_is_not_taken_for_a_complete_one(manage, installs, monkeypatch):
    def run(command: list[str], name: str, packages: int = 0) -> None:
        if name == "pip install":
            raise SystemExit(1)
        own_venv(manage, stamp=manage.BUILDING)

    monkeypatch.setattr(manage, "run", run)
    monkeypatch.setattr(manage, "make_venv", lambda: run([], "python -m venv"))
    with pytest.raises(SystemExit):
        manage.install(manage.LOCK)
    assert not manage.stamp_has(manage.LOCK)


def test_an_old_python_gets_a_message(manage, monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit):
        manage.main()
    assert "needs Python 3.11 or newer" in capsys.readouterr().err


def test_a_python_without_ensurepip_gets_a_message(manage, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit):
        manage.make_venv()
    assert "python3-venv" in capsys.readouterr().err
    assert not Path(manage.VENV).exists()


def test_it_parses_on_an_old_python(manage):
    import ast

    ast.parse((ROOT / "manage.py").read_text(), feature_version=(3, 6))


def test_two_at_once_take_turns(manage):
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "import importlib.util as u; s = u.spec_from_file_location('m', sys.argv[1] + '/manage.py')\n"
        "m = u.module_from_spec(s); s.loader.exec_module(m)\n"
        "m.make_venv = lambda: (m.os.makedirs(m.VENV + '/bin'), m.os.symlink(sys.executable, m.PYTHON))\n"
        "m.venv_works = lambda: m.os.path.exists(m.PYTHON)\n"
        "m.run = lambda command, name, packages=0: (time.sleep(0.5), print(name))\n"
        "m.check = lambda names: None\n"
        "m.install(m.LOCK)\n"
    )
    (Path(manage.ROOT) / "manage.py").write_bytes((ROOT / "manage.py").read_bytes())
    command = [sys.executable, "-c", program, manage.ROOT]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    printed = sorted(process.communicate(timeout=30)[0].strip() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert printed == ["", "pip install"]
