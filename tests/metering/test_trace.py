"""The promise that a real trace costs exactly what it must, by import and by batches of events."""

import csv
from decimal import Decimal

import pytest
from django.core.management import call_command

from billing.metering.importing import IMPORT_MAX_AGE
from billing.metering.models import ImportRun, UsageEvent
from tests.metering.makers import NOW, assert_proven, available_in, send, spent_by
from tests.metering.trace import CREDITS, GRANTED, OPTIONS, REAL, ROWS, prepare

pytestmark = pytest.mark.skipif(not REAL.exists(), reason="the trace does not lie in ../shared/data")


def assert_exact(account):
    assert spent_by(account) == Decimal(CREDITS)
    assert available_in(account) == GRANTED - Decimal(CREDITS)
    assert UsageEvent.objects.count() == 2 * ROWS
    assert_proven()


def test_the_imported_trace_costs_exactly_what_it_must(db, capsys):
    account = prepare()
    call_command("import_usage", REAL, *OPTIONS)
    said = capsys.readouterr().out
    assert said == "8,819 rows: 17,638 events accepted, 0 duplicates, 0 conflicts, 0 rejected.\n"
    assert_exact(account)
    call_command("import_usage", REAL, *OPTIONS)
    assert capsys.readouterr().out.startswith("This import was finished before; nothing has changed.\n8,819 rows")
    assert ImportRun.objects.get().rows_done == ROWS
    assert_exact(account)


@pytest.mark.parametrize("size", [1000, 10_000])
def test_the_trace_in_batches_of_events_costs_the_same(db, size):
    account = prepare()
    events = []
    with REAL.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            common = {"account": "azure", "occurred_at": row["TIMESTAMP"] + "Z"}
            for meter, column in (("context_tokens", "ContextTokens"), ("generated_tokens", "GeneratedTokens")):
                events.append({**common, "id": f"{meter}-{number}", "meter": meter, "quantity": int(row[column])})
    for begin in range(0, len(events), size):
        assert send(*events[begin : begin + size], now=NOW, max_age=IMPORT_MAX_AGE).rejected == 0
    assert_exact(account)
