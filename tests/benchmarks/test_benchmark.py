"""That the benchmarks run and tell what they found; how fast is not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.faults
@pytest.mark.long
def test_every_benchmark_runs_and_is_told(tmp_path):
    clean = {name: value for name, value in os.environ.items() if name in {"HOME", "PATH", "FLORIN_VAR"}}
    command = [sys.executable, str(ROOT / "manage.py"), "benchmark", "--quick", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["machine"]["postgres fsync"] == "on"
    names = {result["name"] for result in told["results"]}
    for wanted in (
        "batches of 1,000 over HTTP, 1 at a time",
        "charge of credits over HTTP, concurrency 8",
        "charge of usage over HTTP, concurrency 64",
        "one hot pool over HTTP, concurrency 64",
        "expiries, a lot a pool, 1 process",
        "renewals in one run, 3 worker processes",
    ):
        assert wanted in names
    assert all(result["product"] > 0 for result in told["results"])
    assert {result["verdict"] for result in told["results"]} <= {"met", "missed", ""}
