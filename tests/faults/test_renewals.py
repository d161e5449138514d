"""That killing workers and the database in the midst of renewals costs nobody anything, and nobody pays twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.faults
@pytest.mark.long
def test_two_hundred_renewals_survive_killed_workers_and_a_killed_database(tmp_path):
    # A database of its own, which nobody else minds being killed.
    clean = {name: value for name, value in os.environ.items() if name in {"HOME", "PATH"}}
    clean["FLORIN_VAR"] = str(tmp_path)
    command = [sys.executable, "-m", "tests.faults.renewals_under_fire"]
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["workers_killed"] >= 4, told["database_killed"]) == (True, 2)
    # One of the 201 was corrupted on purpose.
    for name in ("renewed", "invoices", "paid", "charges", "payments", "notices"):
        assert told[name] == 200, (name, told)
    assert told["numbers_without_gap"]
    assert told["findings"] == []
    # What was left of the old credits rolls by a quarter; the corrupted one has what it had.
    assert told["balances"] == ["1000", "1250"]
    assert told["parked"] == [told["corrupted"]]
    assert told["problems"][0].startswith("Inconsistent: period 7")
    assert told["again"]
