"""`manage.py finance_report`, and the proof that finds what does not meet."""

import csv
import itertools

import pytest
from django.db import connection
from django.utils import timezone

from billing.finance import reports
from billing.finance.months import Months, month_of
from tests.commands import exit_code
from tests.factories import make_meter
from tests.finance.makers import D, at, report, sell, use
from tests.ledger.makers import nothing_written
from tests.subscriptions.makers import make_team, subscribe


@pytest.fixture
def story(acme):
    """A pack and a plan, both used by two meters."""
    meter = make_meter("tokens")
    sell(acme, "100.00", "1000", now=at(1, 10))
    use(acme, "250", now=at(1, 20), meter_id=meter.pk)
    subscribe(acme, make_team(), now=at(2, 1))
    use(acme, "100", now=at(2, 2))
    return acme


def test_it_prints_the_report_and_its_proof(story, capsys):
    with nothing_written():
        assert exit_code("finance_report", "--from", "2025-01", "--to", "2025-02") == 0
    out = " ".join(capsys.readouterr().out.split())
    for said in (
        "2025-01 $0.00 $100.00 $0.00 $0.00 $0.00 \N{MINUS SIGN}$25.00 $0.00 $0.00 $0.00 $0.00 $75.00",
        "Team use $5.00",
        "packs use $25.00",
        "all that was invoiced $30.00",
        "Tokens $25.00 (no meter) $5.00",
        "of which credits in hand $120.00, credits promised $0.00, time to come $0.00",
        "lumen 2025-02 US - 0 untaxed $50.00 $0.00",
    ):
        assert said in out
    assert "DIFFERS" not in out
    assert "checks, 0 differences." in out


def test_it_writes_files_that_add_up(story, tmp_path):
    assert exit_code("finance_report", "--from", "2025-01", "--csv", str(tmp_path / "books")) == 0
    read = {path.stem: list(csv.DictReader(path.read_text().splitlines())) for path in (tmp_path / "books").iterdir()}
    assert set(read) == {"deferred", "revenue", "receivables", "tax", "journal", "proof"}
    journal = read["journal"]
    assert sum(D(row["debit"] or 0) for row in journal) == sum(D(row["credit"] or 0) for row in journal) > 0
    deferred = read["deferred"]
    for before, after in itertools.pairwise(deferred):
        assert before["closing"] == after["opening"]
    booked = (D(row["credit"] or 0) - D(row["debit"] or 0) for row in journal if row["account"] == "deferred_revenue")
    assert D(deferred[-1]["closing"]) == sum(booked)
    assert {row["holds"] for row in read["proof"]} == {"True"}
    assert read["receivables"][0]["invoice"].startswith("INV-")


def test_it_says_that_later_months_were_not_compared(story, capsys):
    assert exit_code("finance_report", "--from", "2025-01", "--to", "2025-01") == 0
    assert "Later months have begun" in capsys.readouterr().out


def test_one_currency_may_be_asked_for(story, capsys):
    assert exit_code("finance_report", "--currency", "usd", "--from", "2025-01", "--to", "2025-02") == 0
    assert "USD: deferred revenue" in capsys.readouterr().out
    assert exit_code("finance_report", "--currency", "EUR", "--from", "2025-01", "--to", "2025-02") == 2


@pytest.mark.parametrize("months", [("2025-02", "2025-01"), ("2999-01", "2999-02")])
def test_months_that_do_not_follow_are_refused(acme, months):
    assert exit_code("finance_report", "--from", months[0], "--to", months[1]) == 2


def test_it_takes_the_last_twelve_months_by_default(acme, monkeypatch):
    asked, found = {}, report(at(2))
    monkeypatch.setattr(reports, "read", lambda **given: asked.update(given) or found)
    assert exit_code("finance_report") == 0
    this = month_of(timezone.now())
    assert len(Months(asked["starts_on"], asked["until"]).starts) == 12
    assert Months(asked["starts_on"], asked["until"]).starts[-1] == this


BREAKAGES = {
    # What entries say, and what the lot says of itself.
    "entries = lots: credits in hand at their cost": "UPDATE billing_creditgrant SET amount = amount + 10,"
    " remaining = remaining + 10 WHERE kind = 'purchase'",
    "invoices: net = their lines": "UPDATE billing_invoiceline SET amount = amount + 1 WHERE credits IS NULL",
    "payments - refunds = paid - refunded of invoices": "UPDATE billing_payment SET amount = amount + 1",
    "tax report: net = invoices - credit notes - voided": "UPDATE billing_invoiceline SET amount = amount - 1"
    " WHERE credits IS NULL",
    "deferred = lots in hand + promised + time to come + in dispute": "UPDATE billing_allocation SET granted_at = NULL",
}


@pytest.mark.parametrize("what", BREAKAGES)
def test_what_does_not_meet_is_named_and_exits_1(story, capsys, what):
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("billing_invoiceline", "billing_payment", "billing_creditgrant", "billing_allocation"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(BREAKAGES[what])
    assert exit_code("finance_report", "--from", "2025-01") == 1
    out = capsys.readouterr().out
    assert f"DIFFERS USD  {what}" in out
