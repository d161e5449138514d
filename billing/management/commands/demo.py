"""`manage.py demo`: the whole of Florin on this machine, from nothing, until Ctrl-C."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from billing.management.commands.seed_demo import Interrupted
from config.embedded import EmbeddedServerError, PostgresServer, Server, ValkeyServer
from config.embedded.keeper import die_with_parent
from config.embedded.postgres import OWNER
from config.embedded.server import make_passable_folder, rotate
from config.processes import web_command

DEFAULT_PORT = 8000
START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 10
QUEUES = "billing,metering,notifications"


# A part that ends as often within this time cannot run; one that was killed now and then can.
CRASHES, CRASH_SECONDS = 3, 60
# What the demo writes there is for whoever runs it: links of mails, logs, documents.
PRIVATE_FOLDERS = ("log", "mail", "media", "seals")


class Stopped(Exception):
    """The user asked the demo to stop."""


@dataclass
class Part:
    """A child process of the demo, with its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    ended_at: list[float] = field(default_factory=list)


class Command(BaseCommand):
    """Start embedded servers, migrate, fill in demo data, run web, worker and beat; stop all of it on Ctrl-C.

    Works repeatedly and after any kill. Exit code 0 after Ctrl-C or SIGTERM, 1 when a part could not start or died.
    """

    help = "Run a complete demo on this machine: database, broker, demo data, web server, worker and beat."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--port, --reset and --no-seed."""
        parser.add_argument("--port", type=int, help=f"port to listen on (default: {DEFAULT_PORT}, or the next free)")
        parser.add_argument("--reset", action="store_true", help="delete the demo's database and broker data first")
        parser.add_argument("--no-seed", action="store_true", help="start without demo data")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until stopped."""
        if settings.FLORIN_ENV != "demo" or not settings.EMBEDDED_BROKER or settings.DATABASE_OWNER is None:
            raise CommandError(
                "The demo brings its own servers and made-up data. Unset FLORIN_ENV, DATABASE_URL and "
                "CELERY_BROKER_URL to run it; for your own servers, see the README."
            )
        port = self.choose_port(options["port"])
        if "FLORIN_PUBLIC_URL" not in os.environ:
            # Links in e-mails and in what the seed prints lead here, from this process and from its children.
            settings.FLORIN_PUBLIC_URL = os.environ["FLORIN_PUBLIC_URL"] = f"http://localhost:{port}"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _stop)
        close_state_folder()
        postgres, broker = PostgresServer("demo"), ValkeyServer("demo")
        parts: list[Part] = []
        try:
            logins = self.start(port, postgres, broker, parts, options)
            self.announce(port, logins)
            self.watch(parts, (postgres, broker), partial(start_part, commands(port), environment(postgres, broker)))
        except Stopped:
            self.say("Stopping")
        except EmbeddedServerError as error:
            raise CommandError(str(error)) from error
        finally:
            # A second Ctrl-C must not leave half of it running.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            stop_parts(parts)
            connections.close_all()
            for server in (broker, postgres):
                server.release()
        self.say("Stopped")

    def choose_port(self, wanted: int | None) -> int:
        """The wanted port, or the first free one from 8000 on."""
        if wanted is not None:
            if not _is_free(wanted):
                raise CommandError(f"Port {wanted} is taken.")
            return wanted
        for port in range(DEFAULT_PORT, DEFAULT_PORT + 100):
            if _is_free(port):
                return port
        raise CommandError(f"No free port from {DEFAULT_PORT} on; name one with --port.")

    def start(
        self, port: int, postgres: PostgresServer, broker: ValkeyServer, parts: list[Part], options: dict[str, Any]
    ) -> str:
        """Start all there is, adding to `parts` what the caller has to stop; returns what the seed says about logins.

        When it returns, the web answers /health and worker and beat run.
        """
        servers = {"PostgreSQL": postgres, "Broker": broker}
        if options["reset"]:
            for server in servers.values():
                server.reset()
            self.say("Earlier demo data deleted")
        for name, server in servers.items():
            server.ensure()
            self.say(f"{name} is running")
        self.migrate()
        for log in (settings.STATE_DIR / "log").glob("*.log*"):
            log.unlink()
        start = partial(start_part, commands(port), environment(postgres, broker))
        # While the data is made the database is busy; the web's start is work for another processor.
        parts.append(start("web"))
        logins = ""
        if not options["no_seed"]:
            try:
                logins = self.seed()
            except Interrupted:
                self.say("An earlier demo was stopped while it made its data; starting over")
                stop_parts(parts)
                parts.clear()
                connections.close_all()
                postgres.recreate()
                self.migrate()
                parts.append(start("web"))
                logins = self.seed()
        parts += [start("worker"), start("beat")]
        self.wait_for_web(port, parts)
        self.say("Web, worker and beat are running")
        return logins

    def migrate(self) -> None:
        """Make or update the tables."""
        call_command("migrate", verbosity=0, interactive=False)
        self.say("Database is up to date")

    def seed(self) -> str:
        """Make the demo's data; returns its logins. Raises Interrupted where a part of it lies already."""
        self.say("Demo data: a year of 12 customers (the first time takes about 20 seconds) ...")
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            result = call_command("seed_demo", stdout=shown)
        self.say("Demo data is there")
        return str(result or shown.getvalue()).strip()

    def wait_for_web(self, port: int, parts: list[Part]) -> None:
        """Return when /health finds servers, workers and beat."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            report_deaths(parts)
            if self.web_answers(port):
                return
            time.sleep(0.5)
        logs = "\n".join(f"{part.log}:\n{_tail(part.log)}" for part in parts)
        raise CommandError(f"/health does not find all parts. The ends of the logs:\n{logs}")

    def web_answers(self, port: int) -> bool:
        """Whether /health finds all parts. The year's mails may still wait: the worker has only just begun."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                said = json.load(answer)
        except urllib.error.HTTPError as failing:
            said = json.load(failing) if failing.code == 503 else {}
        except OSError:
            return False
        return all(said.get(part) == "ok" for part in ("database", "broker", "workers", "beat"))

    def announce(self, port: int, logins: str) -> None:
        """The address and the logins, in a box."""
        lines = [f"Florin is running at http://127.0.0.1:{port}/", f"Staff: http://127.0.0.1:{port}/admin/", ""]
        lines += [*logins.splitlines(), ""] if logins else []
        lines += [f"Logs: {settings.STATE_DIR / 'log'}", f"E-mail: {settings.STATE_DIR / 'mail'}"]
        lines += ["Ctrl-C stops it and leaves no process behind."]
        width = max(map(len, lines))
        box = [f"+-{'-' * width}-+", *(f"| {line.ljust(width)} |" for line in lines), f"+-{'-' * width}-+"]
        self.stdout.write("\n" + "\n".join(box) + "\n")
        self.stdout.flush()

    def watch(self, parts: list[Part], servers: tuple[Server, ...], start: Callable[[str], Part]) -> None:
        """Wait for a signal, which raises Stopped. What was killed is started again, a server as well as a part; one
        that ends again and again raises CommandError."""
        while True:
            for part in parts:
                if part.process.poll() is not None:
                    self.restart(part, start)
                rotate(part.log)
            for server in servers:
                server.ensure()
                server.trim_log()
            time.sleep(0.3)

    def restart(self, part: Part, start: Callable[[str], Part]) -> None:
        """Start a part that has ended again. Raises CommandError when it does not stay up."""
        now = time.monotonic()
        part.ended_at = [at for at in part.ended_at if at > now - CRASH_SECONDS] + [now]
        if len(part.ended_at) >= CRASHES:
            report_deaths([part])
        code = part.process.returncode
        # What it had started may have outlived it, and would keep its port.
        stop_parts([part])
        part.process = start(part.name).process
        self.say(f"{part.name} ended with code {code} and was started again")

    def say(self, message: str) -> None:
        """One line of status, at once."""
        self.stdout.write(f"- {message}")
        self.stdout.flush()


def commands(port: int) -> dict[str, list[str]]:
    """The programs of the demo's parts, as modules of this Python."""
    celery = ["celery", "--app", "config", "--quiet"]
    worker = ["worker", "--queues", QUEUES, "--concurrency", "2", "--loglevel", "INFO"]
    worker += ["--without-gossip", "--without-mingle", "--hostname", f"demo-{port}@%h"]
    beat = ["beat", "--loglevel", "INFO", "--pidfile", ""]
    return {"web": web_command(port), "worker": [*celery, *worker], "beat": [*celery, *beat]}


def environment(postgres: PostgresServer, broker: ValkeyServer) -> dict[str, str]:
    """What leads the parts to the demo's servers."""
    return {
        **os.environ,
        "FLORIN_ENV": "demo",
        "DATABASE_URL": postgres.url(),
        "DATABASE_OWNER_URL": postgres.url(OWNER),
        "CELERY_BROKER_URL": broker.url(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "FLORIN_END_WITH_PARENT": "1",
        "PYTHONUNBUFFERED": "1",
    }


def start_part(commands: dict[str, list[str]], environment: dict[str, str], name: str) -> Part:
    """Start a child that gets SIGTERM when this process ends, however it ends."""
    log = settings.STATE_DIR / "log" / f"{name}.log"
    # To append, so that it can be cut while the part writes to it.
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *commands[name]],
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A group of its own: the terminal's Ctrl-C reaches us alone, and we stop it in order.
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
    return Part(name, process, log)


def close_state_folder() -> None:
    """Let nobody else read what the demo writes. As root, its servers' account passes through to their own folders."""
    os.umask(0o077)
    make_passable_folder(settings.STATE_DIR)
    settings.STATE_DIR.chmod(settings.STATE_DIR.stat().st_mode & (0o711 if os.geteuid() == 0 else 0o700))
    for name in PRIVATE_FOLDERS:
        folder = settings.STATE_DIR / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)


def stop_parts(parts: list[Part]) -> None:
    """Ask each to end, and end the whole group of whichever has not after ten seconds."""
    for part in parts:
        with contextlib.suppress(ProcessLookupError):
            part.process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    for part in parts:
        with contextlib.suppress(subprocess.TimeoutExpired):
            part.process.wait(max(0.0, deadline - time.monotonic()))
        # Also when the leader has gone: its pool may not have.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(part.process.pid, signal.SIGKILL)
        part.process.wait()


def report_deaths(parts: list[Part]) -> None:
    """Raise CommandError with the end of its log when a part has ended."""
    for part in parts:
        if (code := part.process.poll()) is not None:
            raise CommandError(f"{part.name} ended with code {code}. The end of {part.log}:\n{_tail(part.log)}")


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the web server does: a port whose last connections are still fading away is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
