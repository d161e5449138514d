"""The ledger page and its CSV."""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from django.http import StreamingHttpResponse
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.ledger import pools, posting
from billing.wording.csv_files import inert
from portal.usage.ledger_pages import PAGE
from tests.factories import give_credits
from tests.portal.conftest import MAX_QUERIES, Stage


def _page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def _csv(client: Client, address: str) -> list[dict[str, str]]:
    response = cast(StreamingHttpResponse, client.get(address))
    assert response.status_code == 200
    text = b"".join(cast(Iterator[bytes], response.streaming_content)).decode()
    return list(csv.DictReader(io.StringIO(text)))


def _spend(stage: Stage, reference: str, credits: str = "1", days_ago: int = 0) -> None:
    posting.spend(
        pool_id=stage.pool.pk,
        credits=Decimal(credits),
        reference=reference,
        now=stage.now - timedelta(days=days_ago),
    )


def test_it_lists_postings_with_the_running_balance(alice: Client, stage: Stage) -> None:
    page = _page(alice, f"{stage.url}/ledger")
    assert "\N{MINUS SIGN}250.5" in page
    assert "749.5" in page
    assert "+1,000.0" in page
    assert page.index("usage:1") < page.index("A warm welcome")


def test_it_shows_what_a_spend_drew_from(alice: Client, stage: Stage) -> None:
    give_credits(stage.account, "10", now=stage.now, kind="goodwill", expires_at=stage.now + timedelta(days=1))
    _spend(stage, "two lots", "30")
    page = _page(alice, f"{stage.url}/ledger")
    assert "From 2 lots" in page
    assert "Goodwill <code>grt_" in page


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("act=grant", "A warm welcome", "usage:1"),
        ("act=spend", "usage:1", "A warm welcome"),
        ("q=SAGE:1", "usage:1", "A warm welcome"),
        ("q=warm", "A warm welcome", "usage:1"),
        ("until=2000-01-01", "Nothing fits this filter", "usage:1"),
        ("since=2999-01-01", "Nothing fits this filter", "usage:1"),
        ("since=2000-01-01&until=2999-01-01", "usage:1", "Nothing fits"),
    ],
)
def test_it_can_be_filtered(alice: Client, stage: Stage, query: str, shown: str, hidden: str) -> None:
    page = _page(alice, f"{stage.url}/ledger?{query}")
    assert shown in page
    assert hidden not in page


@pytest.mark.parametrize(
    "query",
    ["act=nonsense", "since=yesterday", "until=2026-13-01", "since=2026-02-01&until=2026-01-01", "q=" + "x" * 300],
)
def test_a_filter_that_makes_no_sense_shows_why(alice: Client, stage: Stage, query: str) -> None:
    page = _page(alice, f"{stage.url}/ledger?{query}")
    assert "Nothing to show with this filter" in page
    assert 'aria-invalid="true"' in page
    assert "Download CSV" not in page
    assert alice.get(f"{stage.url}/ledger.csv?{query}").status_code == 400


def test_days_are_the_accounts(alice: Client, stage: Stage) -> None:
    local = stage.now.astimezone(ZoneInfo("America/New_York")).date()
    assert "usage:1" in _page(alice, f"{stage.url}/ledger?since={local}&until={local}")


def test_pages_go_back_and_forth_without_gap_or_repeat(alice: Client, stage: Stage) -> None:
    for number in range(PAGE * 2 + 8):
        _spend(stage, f"turn:{number:03d}:")
    newest = _page(alice, f"{stage.url}/ledger?q=turn")
    older = alice.get(f"{stage.url}/ledger?q=turn").context["older_url"]
    middle = _page(alice, older)
    assert "turn:107:" in newest
    assert "turn:058:" in newest
    assert "turn:057:" not in newest
    assert "turn:057:" in middle
    assert "turn:008:" in middle
    last = _page(alice, alice.get(older).context["older_url"])
    assert "turn:007:" in last
    assert "turn:000:" in last
    assert ">Older<" not in last
    assert _page(alice, alice.get(alice.get(older).context["older_url"]).context["newer_url"]).count("turn:057:") == 2
    assert "turn:107:" in _page(alice, alice.get(older).context["newer_url"])


@pytest.mark.parametrize("version", ["-1", "x", "٣", "9" * 30, "", "1e3"])
def test_a_position_that_is_none_is_ignored(alice: Client, stage: Stage, version: str) -> None:
    assert "usage:1" in _page(alice, f"{stage.url}/ledger?before={version}&after={version}")


def test_another_pools_postings_are_elsewhere(alice: Client, stage: Stage) -> None:
    team = pools.open_pool(account=stage.account, key="research", name="Research", now=stage.now)
    posting.transfer(
        from_pool_id=stage.pool.pk, to_pool_id=team.pk, amount=Decimal(5), reference="to-team", now=stage.now
    )
    page = _page(alice, f"{stage.url}/ledger?pool=research")
    assert "from another pool" in page
    assert "usage:1" not in page
    assert "to another pool" in _page(alice, f"{stage.url}/ledger")


def test_an_empty_ledger_says_what_will_be_here(alice: Client, stage: Stage) -> None:
    pools.open_pool(account=stage.account, key="research", name="Research", now=stage.now)
    assert "Nothing has happened yet" in _page(alice, f"{stage.url}/ledger?pool=research")


def test_text_from_integrators_is_inert(alice: Client, stage: Stage) -> None:
    _spend(stage, '"><script>alert(1)</script>')
    page = _page(alice, f"{stage.url}/ledger")
    assert "<script>alert" not in page


def test_the_csv_has_every_posting_of_the_filter(alice: Client, stage: Stage) -> None:
    for number in range(PAGE + 5):
        _spend(stage, f"more:{number}")
    assert len(_csv(alice, f"{stage.url}/ledger.csv")) == PAGE + 7
    (row,) = _csv(alice, f"{stage.url}/ledger.csv?q=usage:1")
    assert (row["act"], row["credits"], row["balance_change"], row["balance_after"], row["meter"]) == (
        "spend",
        "250.5",
        "-250.5",
        "749.5",
        "images",
    )
    assert row["posted_at"][-6:] in ("-05:00", "-04:00")
    assert row["lots"].endswith(":-250.5")


def test_the_csv_is_a_download(alice: Client, stage: Stage) -> None:
    response = alice.get(f"{stage.url}/ledger.csv")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="ledger-main-')
    assert response["X-Content-Type-Options"] == "nosniff"


def test_the_csv_runs_no_formula(alice: Client, stage: Stage) -> None:
    _spend(stage, '=HYPERLINK("http://evil.example")')
    rows = _csv(alice, f"{stage.url}/ledger.csv")
    assert rows[0]["reference"] == '\'=HYPERLINK("http://evil.example")'


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "  =", "\N{FULLWIDTH EQUALS SIGN}"])
def test_a_cell_that_could_be_a_formula_is_made_text(start: str) -> None:
    assert inert(f"{start}1+1") == f"'{start}1+1"


@pytest.mark.parametrize("cell", ["", "usage:1", "1+1", "a=b", "'x"])
def test_a_harmless_cell_stays_as_it_is(cell: str) -> None:
    assert inert(cell) == cell


def test_it_needs_few_queries(
    alice: Client, stage: Stage, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(PAGE):
        _spend(stage, f"more:{number}")
    with django_assert_max_num_queries(MAX_QUERIES):
        _page(alice, f"{stage.url}/ledger")
