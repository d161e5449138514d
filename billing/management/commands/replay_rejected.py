"""`manage.py replay_rejected`: send rejected events through ingest again, after the cause was fixed."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count
from django.utils import timezone

from billing.management.progress import ProgressBar
from billing.metering import replay
from billing.metering.resolve import resolve

STILL_REJECTED = 3


class Command(BaseCommand):
    """Replay, show the progress on stderr and the summary on stdout."""

    help = (
        "Try rejected events that are open again, oldest first: those that can be taken now count as of when they were"
        " received, once; the others stay open. Exit code 0: none is left of those tried; 1: it could not run;"
        " 3: some could still not be taken."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which of them."""
        parser.add_argument("--code", default="", help="only those rejected for this reason, e.g. unknown_meter")
        parser.add_argument("--account", default="", help="only those of this account: acc_… or its external id")
        parser.add_argument("--limit", type=int, help="at most so many; default: all")
        parser.add_argument("--dry-run", action="store_true", help="say how many there are, by reason")

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay and exit with the code that the help promises."""
        account_id = _account_id(options["account"])
        waiting = replay.open_rejected(code=options["code"], account_id=account_id)
        if options["dry_run"]:
            for code, count in waiting.values_list("code").annotate(Count("pk")).order_by("code"):
                self.stdout.write(f"{code}: {count:,}")
            self.stdout.write("A dry run: nothing was tried.")
            return
        total = waiting.count()
        limit = total if options["limit"] is None else min(options["limit"], total)
        bar = ProgressBar(sys.stderr, total=limit, unit="events")
        done = replay.replay(
            code=options["code"], account_id=account_id, limit=limit, now=timezone.now(),
            progress=lambda so_far: bar.show(so_far.tried),
        )  # fmt: skip
        bar.finish(done.tried)
        self.stdout.write(
            f"{done.tried:,} tried: {done.accepted:,} accepted, {done.duplicates:,} duplicates,"
            f" {done.conflicts:,} conflicts, {done.rejected:,} still rejected."
        )
        if done.conflicts or done.rejected:
            sys.exit(STILL_REJECTED)


def _account_id(name: str) -> int | None:
    if not name:
        return None
    found = resolve(accounts=[name], pools=(), members=()).accounts.get(name)
    if found is None:
        raise CommandError(f"There is no account {name!r}.")
    return found.id
