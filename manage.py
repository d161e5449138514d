#!/usr/bin/env python3
"""Florin's commands. `python3 manage.py demo` and `python3 manage.py test` work on a bare checkout.

When the packages are missing, this file makes `.venv` with the standard library, installs a lock into it (every file
checked against its hash, nothing resolved) and runs itself again there: requirements.txt, or for `test`
tests/requirements.txt, which contains the same packages and those of development. In an environment that has the
packages, it does nothing of the kind. It must parse on any Python 3, so that an old one gets a message and not a
syntax error.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
# FLORIN_VENV names an environment to make and use instead, whatever the interpreter has that runs this.
VENV = os.path.abspath(os.environ.get("FLORIN_VENV") or os.path.join(ROOT, ".venv"))
PYTHON = os.path.join(VENV, "bin", "python")
LOCK = "requirements.txt"
# It contains LOCK's packages too, in the same versions.
DEVELOPMENT_LOCK = os.path.join("tests", "requirements.txt")
# In the venv, written last: the hashes of the locks it contains. "building" while an installation runs.
STAMP = os.path.join(VENV, "florin-lock-hash")
BUILDING = "building"
AGAIN = "FLORIN_INSTALLED_PACKAGES"


def main():
    """Run the command, after installing the packages if they are missing."""
    if sys.version_info < (3, 11):
        fail("Florin needs Python 3.11 or newer; this is %s (%s)." % (sys.version.split()[0], sys.executable))
    # Other programs (a test run's shell, an editor) may have set this for another project.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    lock = DEVELOPMENT_LOCK if sys.argv[1:2] == ["test"] else LOCK
    if needs_installation(lock):
        if os.environ.pop(AGAIN, None):
            fail("The packages of %s are installed in %s, but not all can be found. Remove it." % (lock, VENV))
        install(lock)
        os.environ[AGAIN] = "1"
        os.execv(PYTHON, [PYTHON, os.path.abspath(__file__), *sys.argv[1:]])
    os.environ.pop(AGAIN, None)
    from django.core.management import execute_from_command_line

    from billing.checks import WrongIsolationLevel

    try:
        execute_from_command_line(sys.argv)
    except WrongIsolationLevel as error:
        fail(str(error))


def needs_installation(lock):
    """Whether this interpreter cannot run Florin: its packages are missing, or our own .venv is out of date."""
    if os.path.realpath(sys.prefix) == os.path.realpath(VENV) and os.path.exists(STAMP):
        return not stamp_has(lock)
    if os.environ.get("FLORIN_VENV"):
        return True
    return bool(missing_packages(lock == DEVELOPMENT_LOCK))


def missing_packages(with_development):
    """The packages pyproject.toml asks for that this interpreter does not have, by name; versions are not judged."""
    import importlib.metadata
    import tomllib

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        project = tomllib.load(file)
    wanted = project["project"]["dependencies"] + (project["dependency-groups"]["dev"] if with_development else [])
    missing = []
    for requirement in wanted:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return missing


def install(lock):
    """Make .venv contain what the lock says. Concurrent runs take turns; a killed installation is done again."""
    import fcntl

    try:
        turn = os.open(VENV + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        if stamp_has(lock) and venv_works():
            return
        fail("Cannot write to %s (%s). Use a checkout of your own." % (os.path.dirname(VENV), error.strerror))
    try:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another Florin is installing the packages; waiting for it.")
            fcntl.flock(turn, fcntl.LOCK_EX)
        if not (stamp_has(lock) and venv_works()):
            fill_venv(lock)
    finally:
        os.close(turn)


def fill_venv(lock):
    """Make .venv if need be and install the lock into it. The caller holds the lock."""
    started = time.time()
    # Only what we began ourselves may be thrown away: a .venv without our stamp is somebody's own, and is added to.
    if os.path.exists(STAMP) and (read(STAMP) == BUILDING or not venv_works()):
        shutil.rmtree(VENV)
    if not venv_works():
        make_venv()
    # Adding the packages of development does not touch those that are there.
    if not stamp_has(LOCK):
        write_stamp(BUILDING)
    names = locked_names(lock)
    place = os.path.relpath(VENV, ROOT) if VENV.startswith(ROOT) else VENV
    size = "about a minute" if lock == DEVELOPMENT_LOCK else "about half a minute"
    say("Installing the %d packages of %s into %s: %s, only this once." % (len(names), lock, place, size))
    # The lock is complete, so pip resolves nothing: a release made after it cannot change what is installed.
    command = [PYTHON, "-m", "pip", "install", "--no-deps", "--require-hashes", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    # While pip waits for the network, Florin's own files are compiled: seconds that its first start need not take.
    own = [folder for folder in ("billing", "portal", "config") if os.path.isdir(os.path.join(ROOT, folder))]
    compiling = subprocess.Popen(
        [sys.executable, "-m", "compileall", "-q", *own, "manage.py"], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        run([*command, "-r", os.path.join(ROOT, lock)], "pip install", len(names))
    finally:
        compiling.wait()
    check(names)
    write_stamp("%s %s" % (lock_hash(LOCK), lock_hash(lock)))
    say("Installed in %d seconds." % (time.time() - started))


def locked_names(lock):
    """The names of the packages in a lock, those for other systems and Pythons included."""
    with open(os.path.join(ROOT, lock)) as file:
        return {line.split("==")[0].lower() for line in file if line[:1].isalnum()}


def check(names):
    """Fail when a package of the lock misses another or has a version it cannot use. What else is there is not ours."""
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "check"]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout.decode(errors="replace")
    ours = [line for line in found.splitlines() if line.split(" ")[0].lower() in names]
    if ours:
        fail("The installed packages do not fit together:\n%s" % "\n".join(ours))


def make_venv():
    """Make .venv with pip, or explain what the system lacks for that."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        version = "%d.%d" % sys.version_info[:2]
        fail(
            "Python's venv module is not installed. On Debian or Ubuntu: apt-get install python3-venv "
            "(or python%s-venv); on others, install the rest of Python's standard library." % version
        )
    say("Making a Python environment in %s." % VENV)
    if not os.path.exists(VENV):
        os.mkdir(VENV)
        write_stamp(BUILDING)
    # In a process of its own, with the interpreter that all of this would run on without us.
    run([sys.executable, "-m", "venv", VENV], "python -m venv")


def stamp_has(lock):
    """Whether .venv is ours and was completely installed from the present lock."""
    return os.path.exists(STAMP) and lock_hash(lock) in read(STAMP).split()


def venv_works():
    """Whether .venv has an interpreter that starts and has pip."""
    if not os.path.exists(PYTHON):
        return False
    try:
        return subprocess.run([PYTHON, "-c", "import pip"], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def lock_hash(lock):
    """What identifies an installation: the lock's content."""
    with open(os.path.join(ROOT, lock), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def run(command, name, packages=0):
    """Run a program silently; on failure show what it said, and end. On a terminal, count the packages it gets."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, got, shows = [], 0, packages and sys.stderr.isatty()
    for line in process.stdout or ():
        said.append(line.decode(errors="replace"))
        if shows and said[-1].startswith(("Collecting ", "Installing ")):
            got += said[-1].startswith("Collecting ")
            state = "got %d of %d packages" % (got, packages) if said[-1][0] == "C" else "unpacking them"
            sys.stderr.write("\rflorin: %-40s" % state)
            sys.stderr.flush()
    if shows:
        sys.stderr.write("\r%-48s\r" % "")
    if process.wait() != 0:
        sys.stderr.write("".join(said))
        fail("%s failed with code %d; see above." % (name, process.returncode))


def read(path):
    """A small file's content."""
    with open(path) as file:
        return file.read().strip()


def write_stamp(content):
    """Replace the stamp as a whole."""
    with open(STAMP + ".new", "w") as file:
        file.write(content)
    os.replace(STAMP + ".new", STAMP)


def say(message):
    """Tell the user what takes the time."""
    sys.stderr.write("florin: %s\n" % message)
    sys.stderr.flush()


def fail(message):
    """End with a message instead of a traceback."""
    say(message)
    sys.exit(1)


if __name__ == "__main__":
    main()
