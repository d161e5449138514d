"""The list of invoices and its CSV."""

import csv
import io
from datetime import timedelta
from typing import Any, cast

import pytest
from django.http import StreamingHttpResponse
from django.test import Client

from billing.invoicing import crediting
from billing.invoicing.models import Invoice
from portal.money.invoices import PAGE
from tests.factories import make_issuer
from tests.invoicing.makers import issue, plain_line
from tests.payments.makers import SUCCESS
from tests.portal.conftest import MAX_QUERIES, BuildOnce, Stage
from tests.portal.shop import make_invoice, pay_with, sign_in_as, text_of


def _make_invoices(stage: Stage) -> None:
    """INV-000001 paid, INV-000002 open, INV-000003 void and INV-000004 overdue."""
    make_issuer()
    pay_with(stage, make_invoice(stage, "test:1"), SUCCESS)
    make_invoice(stage, "test:2")
    crediting.void(invoice_id=make_invoice(stage, "test:3").pk, now=stage.now)
    long_ago = stage.now - timedelta(days=60)
    issue(stage.account, plain_line(description="=Support"), reference="test:4", currency="USD", now=long_ago)


@pytest.fixture(scope="module")
def shared_invoices(build_once: BuildOnce, scene: Stage) -> None:
    build_once(lambda: _make_invoices(scene))


@pytest.fixture
def url(shared_invoices: None, stage: Stage) -> str:
    """The list of what `_make_invoices` makes."""
    return f"{stage.url}/invoices"


def _rows(client: Client, address: str) -> list[dict[str, str]]:
    response = cast(StreamingHttpResponse, client.get(address))
    assert response.status_code == 200
    text = b"".join(cast(Any, response.streaming_content)).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_it_lists_invoices_newest_first_with_total_and_state(alice: Client, url: str) -> None:
    page = text_of(alice.get(url))
    assert page.index("INV-000004") < page.index("INV-000001")
    assert "INV-000001 10000 credits $1,190.00 Paid" in page
    assert "INV-000002 10000 credits $1,190.00 Open due" in page
    assert "INV-000003 10000 credits $1,190.00 Void" in page
    assert "INV-000004 =Support $119.00 Overdue" in page


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("state=paid", {"INV-000001"}),
        ("state=open", {"INV-000002", "INV-000004"}),
        ("state=void", {"INV-000003"}),
        ("q=000002", {"INV-000002"}),
        ("q=support", {"INV-000004"}),
        ("since=2999-01-01", set()),
        ("until=2000-01-01", set()),
        ("since=2000-01-01&until=2999-01-01&state=paid&q=credits", {"INV-000001"}),
    ],
)
def test_it_can_be_filtered_and_so_can_its_csv(alice: Client, url: str, query: str, shown: set[str]) -> None:
    page = text_of(alice.get(f"{url}?{query}"))
    assert {f"INV-00000{number}" for number in range(1, 5) if f"INV-00000{number}" in page} == shown
    assert {row["number"] for row in _rows(alice, f"{url}.csv?{query}")} == shown
    assert ("Nothing fits this filter" in page) == (not shown)


@pytest.mark.parametrize(
    "query", ["state=nonsense", "since=never", "since=2026-02-01&until=2026-01-01", "q=" + "x" * 200]
)
def test_a_filter_that_makes_no_sense_says_so(alice: Client, url: str, query: str) -> None:
    assert "Nothing to show with this filter" in text_of(alice.get(f"{url}?{query}"))
    assert alice.get(f"{url}.csv?{query}").status_code == 400


def test_the_csv_has_every_figure_and_no_formula(alice: Client, url: str) -> None:
    rows = {row["number"]: row for row in _rows(alice, f"{url}.csv")}
    paid = rows["INV-000001"]
    assert (paid["state"], paid["currency"], paid["subtotal"], paid["tax"]) == ("paid", "USD", "1000.00", "190.00")
    assert (paid["total"], paid["paid"], paid["credited"]) == ("1190.00", "1190.00", "0.00")
    assert paid["issued_at"].endswith(("-05:00", "-04:00"))
    assert rows["INV-000004"]["items"] == "'=Support"


def test_long_lists_come_in_pages(alice: Client, stage: Stage, url: str) -> None:
    # One more than a page has, with the four that there are.
    for number in range(PAGE - 3):
        make_invoice(stage, f"more:{number}")
    first = alice.get(url)
    assert "INV-000001 " not in text_of(first)
    older = f"{url}?before={Invoice.objects.order_by('pk')[1].pk}"
    assert older in first.content.decode()
    assert "INV-000001 " in text_of(alice.get(older))
    assert alice.get(f"{url}?before=nonsense").status_code == 200


def test_without_invoices_it_says_what_will_be_here(client: Client, stage: Stage) -> None:
    client.force_login(stage.mallory)
    assert "No invoices yet" in text_of(client.get("/a/elsewhere/invoices"))


def test_drafts_and_others_invoices_are_not_shown(alice: Client, stage: Stage, url: str) -> None:
    hers = stage.mallory.memberships.get().account
    issue(hers, plain_line(description="Hers"), reference="hers:1", currency="USD", now=stage.now)
    draft = Invoice.objects.create(
        account=stage.account, issuer_id=Invoice.objects.values_list("issuer", flat=True)[0], reference="draft:1",
        currency="USD", created_at=stage.now,
    )  # fmt: skip
    assert "INV-000005" not in text_of(alice.get(url))
    assert len(_rows(alice, f"{url}.csv")) == 4
    assert alice.get(f"{url}/{draft.pk}").status_code == 404


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_every_role_may_read_them(client: Client, stage: Stage, url: str, role: str) -> None:
    sign_in_as(client, stage, role)
    assert "INV-000001" in text_of(client.get(url))


def test_the_page_reads_little(alice: Client, url: str, django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(MAX_QUERIES):
        alice.get(url)
