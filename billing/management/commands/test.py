"""`manage.py test`: run the tests with pytest on the embedded test server, and leave nothing behind."""

import os
import signal
import subprocess
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.embedded import PostgresServer, ValkeyServer

# Each has a database of its own.
MOST_PROCESSES = 8


class Command(BaseCommand):
    """Run pytest on several processes. Arguments go to pytest: `manage.py test tests/api -k charge -x`."""

    help = "Run the tests. All arguments go to pytest; -n sets the number of processes (0 for none)."
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Take everything after `test` as pytest's, so that no option of Django's gets in its way."""
        if {"-h", "--help"} & set(argv[2:]):
            self.print_help(argv[0], argv[1])
            return
        self.handle(arguments=argv[2:])

    def add_arguments(self, parser: ArgumentParser) -> None:
        """For --help only."""
        parser.add_argument("arguments", nargs="*", help="arguments of pytest")

    def handle(self, *args: Any, arguments: list[str], **options: Any) -> None:
        """Run pytest in a fresh process (so that coverage sees every import) and exit with its code."""
        own_n = any(word == "-n" or word.startswith(("-n", "--numprocesses")) for word in arguments)
        # One more than there are processors, for tests wait now and then.
        processes = min((os.cpu_count() or 1) + 1, MOST_PROCESSES)
        spread = [] if own_n else ["-n", str(processes), "--no-loadscope-reorder"]
        command = [sys.executable, "-m", "pytest", *spread, *arguments]
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings_test"}
        tests = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment)
        # Ctrl-C reaches pytest by itself; here it must not cut off the wait. A plain kill is passed on.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: tests.terminate())
        code = tests.wait()
        # Already stopping, for their last user has gone; wait until they have.
        for server in (PostgresServer("test"), ValkeyServer("test")):
            server.wait_stopped()
        raise SystemExit(code if code >= 0 else 128 - code)
