"""`manage.py verify_ledger`: prove the ledger. Exit 0: no difference, 1: differences, 2: it could not run."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from billing.accounts import ids
from billing.accounts.models import Account
from billing.metering import verification

DIFFERENCES = 1
COULD_NOT_RUN = 2


class Command(BaseCommand):
    """Verify and report; repairs nothing. With --park, parks the accounts that differ."""

    help = (
        "Check every identity of the ledger, usage against credits, and the seal chain, in one consistent snapshot"
        " while the system runs. Exit code 0: no difference; 1: differences, each named; 2: the check could not run."
        " Never repairs anything."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to examine, against which heads, and how to answer."""
        parser.add_argument("--account", action="append", metavar="ID", help="acc_… or external id; may be repeated")
        parser.add_argument("--heads", type=Path, metavar="FILE", help="exported heads: a file, or a folder of them")
        parser.add_argument("--json", action="store_true", help="answer in JSON on stdout")
        parser.add_argument("--park", action="store_true", help="park accounts that differ, and tell staff")

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify, print, exit with the code that the help promises."""
        if options["park"] and (options["account"] or options["heads"]):
            raise CommandError("--park examines everything: leave --account and --heads out.", returncode=COULD_NOT_RUN)
        try:
            report = self._verify(**options)
        except (DatabaseError, verification.HeadsUnreadable) as error:
            raise CommandError(f"could not verify: {error}", returncode=COULD_NOT_RUN) from error
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report), default=str, indent=2))
        else:
            self._print(report)
        if report.findings:
            sys.exit(DIFFERENCES)

    def _verify(
        self, *, account: list[str] | None, heads: Path | None, park: bool, **options: Any
    ) -> verification.Report:
        now = timezone.now()
        if park:
            return verification.verify_and_park(now=now, progress=self._progress)
        ids = None if account is None else [_account_id(name) for name in account]
        return verification.verify(account_ids=ids, heads_file=heads, now=now, progress=self._progress)

    def _progress(self, name: str) -> None:
        self.stderr.write(f"verifying {name} …")

    def _print(self, report: verification.Report) -> None:
        names = dict(
            Account.objects.filter(pk__in={each.account_id for each in report.findings}).values_list(
                "pk", "external_id"
            )
        )
        for finding in report.findings:
            account_id = finding.account_id or 0
            where = f"{ids.encode(ids.ACCOUNT, account_id)} {names.get(account_id, '')}".rstrip()
            pool = f" {ids.encode(ids.POOL, finding.pool_id)}" if finding.pool_id else ""
            self.stdout.write(f"{where}{pool} {finding}" if finding.account_id else f"chain {finding}")
        self.stdout.write(
            f"{report.accounts:,} accounts, {report.pools:,} pools, {report.postings:,} postings"
            f" ({report.sealed:,} sealed): {len(report.findings):,} differences."
        )


def _account_id(name: str) -> int:
    """The account of our id (`acc_…`) or an external id."""
    own = ids.find(ids.ACCOUNT, name)
    query = Q(external_id=name) if own is None else Q(pk=own)
    account_id = Account.objects.filter(query).values_list("pk", flat=True).first()
    if account_id is None:
        raise CommandError(f"could not verify: there is no account {name!r}", returncode=COULD_NOT_RUN)
    return account_id
