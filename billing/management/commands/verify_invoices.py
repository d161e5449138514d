"""`manage.py verify_invoices`: prove issued documents. Exit 0: no difference, 1: differences, 2: it could not run."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from billing.invoicing import verification

DIFFERENCES = 1
COULD_NOT_RUN = 2


class Command(BaseCommand):
    """Verify and report; repairs nothing."""

    help = (
        "Check every issued invoice and credit note: its content against the hash taken when it was issued, its lines"
        " against its totals, credit notes against their invoices, and that no number is missing; in one consistent"
        " snapshot while the system runs. Exit code 0: no difference; 1: differences, each named; 2: the check could"
        " not run. Never repairs anything."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How to answer."""
        parser.add_argument("--json", action="store_true", help="answer in JSON on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify, print, exit with the code that the help promises."""
        try:
            report = verification.verify()
        except DatabaseError as error:
            raise CommandError(f"could not verify: {error}", returncode=COULD_NOT_RUN) from error
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report), indent=2))
        else:
            for finding in report.findings:
                self.stdout.write(str(finding))
            unhashed = f" ({report.unhashed:,} from before hashes were taken)" if report.unhashed else ""
            self.stdout.write(
                f"{report.invoices:,} invoices, {report.credit_notes:,} credit notes{unhashed}:"
                f" {len(report.findings):,} differences."
            )
        if report.findings:
            sys.exit(DIFFERENCES)
