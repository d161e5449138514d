"""The finance report as staff see it."""

from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts.models import User
from billing.finance import tax_report
from billing.wording import csv_files
from tests.admin.conftest import Office, text_of
from tests.factories import make_account, make_issuer
from tests.finance.makers import at, issue, sell, use
from tests.finance.test_disputes import tell
from tests.invoicing.makers import plain_line

PAGE = "/admin/finance/"


@pytest.fixture
def sold(office: Office) -> None:
    make_issuer()
    account = make_account("acme", country="US", time_zone="UTC", currency="USD", now=at(1))
    sell(account, "100.00", "1000", now=at(1, 10))
    use(account, "250", now=at(2, 1))
    issue(account, plain_line("40.00"), reference="i", now=at(2, 3))
    other = make_account("euro", country="DE", time_zone="UTC", currency="EUR", now=at(1))
    sell(other, "90.00", "1000", now=at(1, 11))


def test_the_page_shows_all_parts_and_that_they_meet(
    staff: Client, sold: None, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    # However much there is: the report's statements, and those that every page of staff needs.
    with django_assert_max_num_queries(26):
        page = text_of(staff, f"{PAGE}?currency=USD&since=2025-01&until=2025-02")
    assert "<strong>$65.00</strong> <span>Recognised in these months</span>" in page
    assert "<strong>$75.00</strong> <span>Deferred at the end</span>" in page
    assert "<strong>$40.00</strong> <span>Owed by customers</span>" in page
    assert "<strong>0</strong> <span>Differences in" in page
    assert "Later months have begun" in page
    assert "€" not in page
    assert "€90.00" in text_of(staff, f"{PAGE}?currency=EUR&since=2025-01&until=2025-02")


def test_it_begins_with_the_currency_of_most_documents(staff: Client, sold: None) -> None:
    for asked in ("", "&currency=XXX"):
        assert "Deferred at the end" in (page := text_of(staff, f"{PAGE}?since=2025-01&until=2025-02{asked}"))
        assert "<strong>$65.00</strong>" in page
        assert "€90.00" not in page


def test_without_a_document_there_is_no_currency_to_begin_with(staff: Client) -> None:
    assert "Finance" in text_of(staff, PAGE)


def test_what_a_bank_holds_is_shown_where_it_holds_any(staff: Client, sold: None) -> None:
    query = "?currency=USD&since=2025-01&until=2025-02"
    assert "of which in dispute" not in text_of(staff, PAGE + query)
    tell("open", now=at(2, 20))
    page = text_of(staff, PAGE + query)
    assert "<strong>$75.00</strong> <span>of which in dispute</span>" in page
    assert "<strong>0</strong> <span>Differences in" in page


def test_each_part_is_a_file(staff: Client, sold: None) -> None:
    for part in ("deferred", "revenue", "receivables", "tax", "journal", "proof"):
        response = staff.get(f"{PAGE}{part}.csv?since=2025-01&until=2025-02")
        assert response["Content-Disposition"] == f'attachment; filename="{part}-2025-01-2025-02.csv"'
        lines = b"".join(response.streaming_content).decode().splitlines()
        assert len(lines) > 1, part
        assert {line.count(",") for line in lines} == {lines[0].count(",")}, part


def test_the_file_of_nothing_is_not_found(staff: Client, sold: None) -> None:
    assert staff.get(f"{PAGE}secrets.csv").status_code == 404


def test_months_that_there_are_not_are_those_of_today(staff: Client, sold: None) -> None:
    for query in ("", "?since=x&until=y", "?since=2999-01&until=2999-02", "?currency=ZZZ"):
        assert "Deferred revenue, month by month" in text_of(staff, PAGE + query), query


def test_there_may_be_nothing_yet(staff: Client, office: Office) -> None:
    assert "Nothing has been sold yet" in text_of(staff, PAGE)


def test_it_is_for_those_who_may_see_figures(client: Client, office: Office) -> None:
    assert "/admin/login/" in client.get(PAGE)["Location"]
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    client.force_login(office.alice)
    assert client.get(PAGE).status_code == 403
    assert client.get(f"{PAGE}journal.csv").status_code == 403
    assert "Finance" not in text_of(client, "/admin/")


def test_money_in_files_has_the_decimals_of_its_currency() -> None:
    rows = [("EUR", Decimal("1285.200"), Decimal("10.0"), Decimal("19.000")), ("JPY", Decimal(5), Decimal("0.5"), None)]
    lines = list(csv_files.lines(("currency", "net", "credits_sold", "percent"), rows))
    assert lines[1:] == ["EUR,1285.20,10,19\r\n", "JPY,5,0.5,\r\n"]
    assert list(csv_files.lines(("currency", "net"), [("KWD", Decimal(0))]))[1:] == ["KWD,0.000\r\n"]


def test_tax_in_another_currency_has_the_decimals_of_that_one() -> None:
    assert tax_report.COLUMNS[-2:] == ("base_currency", "tax_in_base_currency")
    columns = ("currency", "net", *tax_report.COLUMNS[-2:])
    rows = [
        ("EUR", Decimal(5), "JPY", Decimal(800)),
        ("JPY", Decimal(5), "KWD", Decimal("0.1")),
        ("EUR", None, "", None),
    ]
    lines = list(csv_files.lines(columns, rows))[1:]
    assert lines == ["EUR,5.00,JPY,800\r\n", "JPY,5,KWD,0.100\r\n", "EUR,,,\r\n"]
