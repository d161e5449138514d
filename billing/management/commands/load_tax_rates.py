"""`manage.py load_tax_rates`: the standard tax rates that come along, into the rate table."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from billing.invoicing import starter_rates


class Command(BaseCommand):
    """Load the starter set, and say what of it is new, has changed, or differs from what staff have entered."""

    help = (
        "Load the standard tax rates that come with Florin, each with its source: all that the table lacks, and those "
        "that have changed since they were loaded. Rates of staff stay as they are. Safe to run again, for example "
        "after each update. Exit code 0; 1: it could not run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which countries."""
        parser.add_argument(
            "--country", action="append", default=[], metavar="CODE", help="only this country; may be repeated"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Load and tell."""
        countries = {code.upper() for code in options["country"]}
        if unknown := countries - {country for country, _ in starter_rates.read()}:
            raise CommandError(f"No rates come along for {', '.join(sorted(unknown))}.")
        loaded = starter_rates.load(on=timezone.now().date(), countries=countries)
        self.stdout.write(
            f"{len(loaded.added)} places added, {len(loaded.changed)} changed, {len(loaded.kept)} as they were."
        )
        if loaded.changed:
            self.stdout.write(f"Changed: {', '.join(loaded.changed)}")
        if loaded.differing:
            self.stdout.write(f"Rates of your own differ, and stay: {', '.join(loaded.differing)}")
