"""`manage.py benchmark`: measure Florin on this machine, against the least that its work costs."""

import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Run tests/benchmarks in a process of its own, on a durable embedded PostgreSQL that is deleted afterwards."""

    help = "Measure ingest, charges, balances, expiries and renewals against their floors. Options: --help."
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Hand on everything after `benchmark`, also --help."""
        self.handle(arguments=argv[2:])

    def handle(self, *args: Any, arguments: list[str], **options: Any) -> None:
        """Exit with the run's code."""
        if not (settings.BASE_DIR / "tests" / "benchmarks").exists():
            raise CommandError("The benchmarks are part of the source checkout, under tests/benchmarks.")
        done = subprocess.run([sys.executable, "-m", "tests.benchmarks", *arguments], cwd=settings.BASE_DIR)
        raise SystemExit(done.returncode)
