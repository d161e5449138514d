"""`manage.py import_exchange_rates [FILE]`: the European Central Bank's reference rates."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.error import URLError

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.invoicing import exchange


class Command(BaseCommand):
    """Import, and say how many rates were new."""

    help = (
        "Store the European Central Bank's reference rates: FILE is its CSV (eurofxref.csv, eurofxref-hist.csv), zipped"
        " or not. Without FILE they are fetched from FLORIN_EXCHANGE_RATES_URL, which a periodic job does too. Rates"
        " that are there stay as they are. Exit code 0: done; 1: nothing could be read, and nothing was written."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which file."""
        parser.add_argument("file", nargs="?", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, store, count."""
        file: Path | None = options["file"]
        if file is None and not settings.FLORIN_EXCHANGE_RATES_URL:
            raise CommandError("Name a file, or set FLORIN_EXCHANGE_RATES_URL.")
        try:
            content = exchange.fetch(settings.FLORIN_EXCHANGE_RATES_URL) if file is None else file.read_bytes()
            new = exchange.import_rates(content)
        except (OSError, URLError, exchange.UnreadableRates) as error:
            raise CommandError(f"no rates were imported: {error}") from error
        self.stdout.write(f"{new:,} new rates.")
