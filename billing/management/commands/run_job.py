"""`manage.py run_job NAME`: one of the periodic jobs, once, here and now."""

import logging
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from billing.tracing.redaction import describe_error

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    """Run a job of the beat schedule in this process, without the broker. Every job may run at any time, and twice.

    Exit code 0 when it ran through, 1 when it failed, or something in it did: a subscription that it parked, say. A
    job goes on with the others then, and logs each as an error.
    """

    help = "Run one periodic job now, in this process. The names are those of the beat schedule in config/celery.py."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The name of the job, one of the schedule's."""
        parser.add_argument("name", choices=sorted(settings.CELERY_BEAT_SCHEDULE), metavar="NAME", help=_listed())

    def handle(self, *args: Any, **options: Any) -> None:
        """Call the task's function directly."""
        module, _, function = settings.CELERY_BEAT_SCHEDULE[options["name"]]["task"].rpartition(".")
        try:
            with _counting_errors() as errors:
                getattr(import_module(module), function)()
        except Exception as error:
            # As a worker would, and not as a bare traceback: the log takes secrets out.
            log.exception("job.failed", job=options["name"])
            raise CommandError(f"{options['name']} failed: {describe_error(error)}") from None
        if errors:
            raise CommandError(f"{options['name']} ran, with errors: {', '.join(errors)}. The log has the details.")
        self.stdout.write(f"{options['name']}: done")


@contextmanager
def _counting_errors() -> Iterator[list[str]]:
    """What is logged as an error meanwhile, by the names of the events: each job catches the faults of single rows."""
    errors: list[str] = []

    class Counter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said = record.msg
            errors.append(str(said["event"]) if isinstance(said, dict) else str(said))

    counter = Counter(logging.ERROR)
    logging.getLogger("billing").addHandler(counter)
    try:
        yield errors
    finally:
        logging.getLogger("billing").removeHandler(counter)


def _listed() -> str:
    return ", ".join(sorted(settings.CELERY_BEAT_SCHEDULE))
