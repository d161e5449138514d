"""The statement of account: page, CSV and PDF say the same."""

import csv
import io
from datetime import timedelta
from typing import Any, cast

import pytest
from django.http import StreamingHttpResponse
from django.test import Client

from billing.invoicing.models import Issuer
from billing.payments import account_statement
from tests.factories import make_issuer
from tests.invoicing.makers import issue, plain_line
from tests.payments.makers import SUCCESS
from tests.portal.conftest import MAX_QUERIES, BuildOnce, Stage
from tests.portal.shop import make_invoice, pay_with, sign_in_as, text_of


def make_entries(stage: Stage) -> None:
    """Two years ago an invoice of $119.00, still owed; now one of $1,190.00, paid; and one in euros."""
    make_issuer()
    long_ago = stage.now - timedelta(days=730)
    issue(stage.account, plain_line("100.00"), reference="old", currency="USD", now=long_ago)
    pay_with(stage, make_invoice(stage), SUCCESS)
    issue(stage.account, plain_line("10.00"), reference="euros", currency="EUR", now=stage.now)


@pytest.fixture(scope="module")
def shared_entries(build_once: BuildOnce, scene: Stage) -> None:
    build_once(lambda: make_entries(scene))


@pytest.fixture
def url(shared_entries: None, stage: Stage) -> str:
    """The statement of what `make_entries` makes."""
    return f"{stage.url}/statement"


def rows(client: Client, address: str) -> list[dict[str, str]]:
    response = cast(StreamingHttpResponse, client.get(address))
    assert response.status_code == 200
    text = b"".join(cast(Any, response.streaming_content)).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_it_tells_this_year_in_the_first_currency_and_leads_to_the_invoices(alice: Client, stage: Stage, url: str):
    assert "Statement of account" in text_of(alice.get(f"{stage.url}/invoices"))
    page = text_of(alice.get(f"{url}?currency=USD"))
    for said in (
        "Balance before $119.00", "Invoice INV-000002 $1,190.00 $1,309.00",
        "Payment INV-000002 \N{MINUS SIGN}$1,190.00 $119.00", "Owed $1,190.00",
        "Settled \N{MINUS SIGN}$1,190.00", "$119.00", "A positive balance is owed by Northwind.",
    ):  # fmt: skip
        assert said in page
    assert "INV-000003" not in page
    assert "INV-000003 €11.90 €11.90" in text_of(alice.get(url))


def test_days_can_be_chosen(alice: Client, url: str):
    page = text_of(alice.get(f"{url}?since=2000-01-01&until=2000-12-31&currency=USD"))
    assert "Nothing happened in this time." in page
    assert "Balance before $0.00" in page


def test_the_csv_has_the_balances_around_its_entries(alice: Client, stage: Stage, url: str):
    found = rows(alice, f"{url}.csv?currency=USD")
    assert [(row["what"], row["number"], row["amount"], row["balance"]) for row in found] == [
        ("opening", "", "", "119.00"), ("invoice", "INV-000002", "1190.00", "1309.00"),
        ("payment", "INV-000002", "-1190.00", "119.00"), ("closing", "", "", "119.00"),
    ]  # fmt: skip


def test_the_pdf_is_one(alice: Client, url: str):
    response = alice.get(f"{url}.pdf?currency=USD&since=2000-01-01&until=2000-12-31")
    assert response["Content-Type"] == "application/pdf"
    assert response["Content-Disposition"] == 'attachment; filename="statement-2000-01-01-2000-12-31-USD.pdf"'
    assert response.content.startswith(b"%PDF")
    Issuer.objects.update(is_default=False)
    assert alice.get(f"{url}.pdf").status_code == 404


@pytest.mark.parametrize(
    "query",
    ["since=never", "since=2026-02-01&until=2026-01-01", "currency=GBP", "until=9999-12-31", "since=0001-01-01"],
)
def test_a_filter_that_makes_no_sense_says_so(alice: Client, stage: Stage, url: str, query: str):
    stage.account.time_zone = "Asia/Tokyo"
    stage.account.save()
    assert "Nothing to show with this filter" in text_of(alice.get(f"{url}?{query}"))
    assert alice.get(f"{url}.csv?{query}").status_code == 400
    assert alice.get(f"{url}.pdf?{query}").status_code == 400


def test_what_does_not_fit_asks_for_fewer_days(alice: Client, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(account_statement, "MOST_ENTRIES", 1)
    assert "Choose fewer days" in text_of(alice.get(f"{url}?currency=USD"))


def test_a_viewer_may_read_it_and_strangers_and_nobody_may_not(client: Client, stage: Stage, url: str):
    assert client.get(url).status_code == 302
    client.force_login(stage.mallory)
    assert {client.get(f"{url}{kind}").status_code for kind in ("", ".csv", ".pdf")} == {404}
    sign_in_as(client, stage, "viewer")
    assert {client.get(f"{url}{kind}").status_code for kind in ("", ".csv", ".pdf")} == {200}
    assert client.post(url).status_code == 405


def test_it_needs_few_queries(alice: Client, stage: Stage, url: str, django_assert_max_num_queries: Any):
    for number in range(10):
        make_invoice(stage, f"more:{number}")
    with django_assert_max_num_queries(MAX_QUERIES):
        alice.get(f"{url}?currency=USD")
