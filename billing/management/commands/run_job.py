"""`manage.py run_job NAME`: one of the periodic jobs, once, here and now."""

from argparse import ArgumentParser
from importlib import import_module
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.tracing.redaction import describe_error

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    """Run a job of the beat schedule in this process, without the broker. Every job may run at any time, and twice.

    Exit code 0 when it ran through, 1 when it failed.
    """

    help = "Run one periodic job now, in this process. The names are those of the beat schedule in config/celery.py."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The name of the job, one of the schedule's."""
        parser.add_argument("name", choices=sorted(settings.CELERY_BEAT_SCHEDULE), metavar="NAME", help=_listed())

    def handle(self, *args: Any, **options: Any) -> None:
        """Call the task's function directly."""
        module, _, function = settings.CELERY_BEAT_SCHEDULE[options["name"]]["task"].rpartition(".")
        try:
            getattr(import_module(module), function)()
        except Exception as error:
            # As a worker would, and not as a bare traceback: the log takes secrets out.
            log.exception("job.failed", job=options["name"])
            raise CommandError(f"{options['name']} failed: {describe_error(error)}") from None
        self.stdout.write(f"{options['name']}: done")


def _listed() -> str:
    return ", ".join(sorted(settings.CELERY_BEAT_SCHEDULE))
