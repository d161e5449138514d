"""An import killed with -9, again and again, counts every row once."""

import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from billing.metering.models import ImportRun, UsageEvent
from tests.metering.makers import assert_proven, available_in, spent_by
from tests.metering.trace import CREDITS, GRANTED, OPTIONS, REAL, ROWS, make_up, prepare

# The command, in the database of this test.
COMMAND = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings_test"
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
import django
django.setup()
from django.core.management import call_command
call_command("import_usage", *sys.argv[2:])
"""


def start(path: Path) -> subprocess.Popen[str]:
    """The import as a process of its own, in small batches, so that it can be met at work."""
    name = str(connection.settings_dict["NAME"])
    arguments = [sys.executable, "-c", COMMAND, name, str(path), *OPTIONS, "--batch-size", "50"]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=settings.BASE_DIR)


def rows_done() -> int:
    return sum(ImportRun.objects.values_list("rows_done", flat=True))


def kill_after(process: subprocess.Popen[str], rows: int) -> None:
    """Kill -9 once so many rows are done; the process must not have ended before."""
    deadline = time.monotonic() + 60
    while rows_done() < rows and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    while has_company() and time.monotonic() < deadline:  # its last statement may still be at work
        time.sleep(0.01)


def has_company() -> bool:
    """Whether another session is in this test's database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        return cursor.fetchone() is not None


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_an_import_killed_three_times_counts_every_row_once(tmp_path):
    account = prepare()
    is_real = REAL.exists()
    path = REAL if is_real else make_up(tmp_path / "trace.csv", rows=ROWS)
    done = 0
    for _ in range(3):
        kill_after(start(path), done + 1_000)
        assert rows_done() > done
        done = rows_done()
        assert UsageEvent.objects.count() == 2 * done
    assert done < ROWS
    last = start(path)
    output, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    went_on, summary = output.splitlines()
    assert went_on == f"Went on after row {done:,}."
    assert summary == "8,819 rows: 17,638 events accepted, 0 duplicates, 0 conflicts, 0 rejected."
    assert UsageEvent.objects.count() == 2 * ROWS
    if is_real:
        assert spent_by(account) == Decimal(CREDITS)
        assert available_in(account) == GRANTED - Decimal(CREDITS)
    assert_proven()
