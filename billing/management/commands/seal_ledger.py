"""`manage.py seal_ledger`: seal new postings now; with --export, write the chain's head to the day's file too."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from billing.ledger import sealing


class Command(BaseCommand):
    """Seal postings; safe to run at any time, twice, or beside the worker that does it every hour."""

    help = (
        "Extend the hash chain over the ledger by all postings not sealed yet. With --export, also append the chain's"
        " head to the day's file: keep those files away from the database, for `verify_ledger --heads`."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--export, with or without a folder."""
        parser.add_argument(
            "--export",
            nargs="?",
            type=Path,
            const=settings.FLORIN_SEAL_EXPORT_DIR,
            metavar="DIR",
            help="write the head to a file in DIR (default: the setting FLORIN_SEAL_EXPORT_DIR)",
        )

    def handle(self, *args: Any, export: Path | None, **options: Any) -> None:
        """Seal, export, say what was done."""
        now = timezone.now()
        self.stdout.write(f"Sealed {sealing.seal(now=now):,} postings.")
        if export is not None:
            path = sealing.export_head(directory=export, now=now)
            self.stdout.write(f"Head appended to {path}." if path else "Nothing is sealed yet: no head to export.")
