"""What waits for somebody, on one page; and the business's figures."""

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts.models import Account, Approval
from billing.admin import work
from billing.admin.charts import bar_chart
from billing.admin.finance import figures
from billing.catalog.models import Meter
from billing.ledger import expiry, pools, posting
from billing.metering.models import DailyUsage, RejectedEvent
from tests.admin.conftest import MAX_QUERIES, Office, text_of
from tests.admin.test_approvals import _staff
from tests.factories import give_credits, make_account, make_issuer, make_pack
from tests.invoicing.makers import issue, plain_line
from tests.payments.makers import make_card
from tests.purchases.makers import buy

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def _fill(office: Office) -> None:
    RejectedEvent.objects.bulk_create(
        RejectedEvent(body="{}", code="unknown_meter", detail="x", received_at=office.now - timedelta(days=2))
        for _ in range(3)
    )
    Account.objects.filter(pk=office.account.pk).update(parked_at=office.now, parked_reason="x")
    Approval.objects.create(
        account=office.account, act="grant", payload={}, reference="r", credits=1, reason="x", requested_at=office.now,
        requested_by=office.stella,
    )  # fmt: skip


def test_queues_say_how_much_waits_and_for_how_long(staff: Client, office: Office) -> None:
    _fill(office)
    queues = {queue.name: queue for queue in work.list_queues(user=office.stella, now=office.now)}
    assert queues["Rejected events"].count == 3
    assert queues["Rejected events"].oldest_at == office.now - timedelta(days=2)
    assert queues["Mails given up"].count == 0
    page = text_of(staff, "/admin/work/")
    queue = "state__exact=open&amp;accounts=customers"
    assert f'<a href="/admin/billing/rejectedevent/?{queue}">Rejected events</a>' in page
    assert "2 days" in page
    assert "Nothing to do" in page
    assert "<strong>3</strong> <span>Rejected events</span>" in text_of(staff, "/admin/")


def test_every_queue_leads_to_a_list_of_its_rows(staff: Client, office: Office) -> None:
    _fill(office)
    for queue in work.list_queues(user=office.stella, now=office.now):
        response = staff.get(queue.url)
        assert response.status_code == 200, queue.url
        assert response.context["cl"].result_count == queue.count, queue.name


def test_a_long_queue_is_counted_so_far_and_no_further(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "COUNTED", 2)
    _fill(office)
    queues = {queue.name: queue for queue in work.list_queues(user=office.stella, now=office.now)}
    assert queues["Rejected events"].count_text == "2+"


def test_the_pages_need_few_queries(
    staff: Client, office: Office, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for page in ("work/", "figures/", ""):
        with django_assert_max_num_queries(MAX_QUERIES):
            assert staff.get(f"/admin/{page}").status_code == 200


def test_everybody_sees_their_own_queues_only(client: Client, office: Office) -> None:
    _fill(office)
    client.force_login(_staff("sam", "view_account"))
    page = text_of(client, "/admin/work/")
    assert "Parked accounts" in page
    assert "Rejected events" not in page
    client.force_login(_staff("nobody"))
    assert "Nothing waits for you" in text_of(client, "/admin/work/")


def test_strangers_and_customers_go_to_the_login_page(client: Client, office: Office) -> None:
    pages = ("work/", "figures/", "figures.csv")
    for page in pages:
        assert "/admin/login/" in client.get(f"/admin/{page}")["Location"], page
    client.force_login(office.alice)
    for page in pages:
        assert "/admin/login/" in client.get(f"/admin/{page}")["Location"], page


def test_the_figures_need_a_right(client: Client, office: Office) -> None:
    client.force_login(_staff("sam", "view_account"))
    for page in ("/admin/figures/", "/admin/figures.csv"):
        assert (client.get(page).status_code, client.post(page).status_code) == (403, 405), page


def test_the_first_page_lists_pages_that_are_no_table(staff: Client, client: Client, office: Office) -> None:
    page = text_of(staff, "/admin/")
    for address in ("/admin/work/", "/admin/figures/", "/admin/billing/dailyusage/events/"):
        assert f'href="{address}"' in page
    client.force_login(_staff("sam", "view_dailyusage"))
    page = text_of(client, "/admin/")
    assert 'href="/admin/work/"' in page
    assert "/admin/figures/" not in page
    assert "/admin/billing/dailyusage/events/" not in page


# --- Figures --------------------------------------------------------------------------------------------------------


def _book(currency: str) -> figures.Book:
    return next(book for book in figures.read(now=NOW) if book.currency == currency)


def test_a_currencys_months_say_what_was_sold_used_and_lost(db: None) -> None:
    meter = Meter.objects.create(key="videos", name="Videos", unit="video", created_at=NOW)
    account = make_account("contoso", now=NOW - timedelta(days=200), currency="EUR")
    pool = pools.get_main_pool(account.pk)
    january, february = NOW - timedelta(days=60), NOW - timedelta(days=30)
    paid = {"kind": "purchase", "cost_basis": Decimal("0.1")}
    give_credits(account, "1000", now=january, expires_at=february, **paid)
    give_credits(account, "500", now=february, **paid)
    give_credits(account, "70", now=february)
    posting.spend(pool_id=pool.pk, credits=Decimal(400), reference="a", now=january)
    DailyUsage.objects.create(
        account=account, meter=meter, day=january.date(), events=1, quantity=1, credits=400, cost=0
    )
    expiry.expire_due(now=NOW, grace_seconds=0)
    book = _book("EUR")
    months = {month.starts_on: month for month in book.months}
    assert len(months) == 12
    assert list(months)[-1] == date(2026, 3, 1)
    first, second = months[date(2026, 1, 1)], months[date(2026, 2, 1)]
    assert (first.credits_sold, first.sold, first.spent, first.active) == (1000, 100, 400, 1)
    assert (second.credits_sold, second.sold, second.expired, second.breakage) == (500, 50, 600, 60)
    assert (book.deferred, book.open_credits, book.recognised) == (50, 570, 100)


def test_the_currency_with_the_most_documents_comes_first(office: Office, staff: Client) -> None:
    make_issuer()
    for currency, amounts in (("JPY", ("900000",)), ("EUR", ("5.00", "6.00"))):
        for number, amount in enumerate(amounts):
            issue(
                office.account, plain_line(amount), reference=f"{currency}:{number}", currency=currency, now=office.now
            )
    books = figures.read(now=office.now)
    assert [book.currency for book in books][:2] == ["EUR", "JPY"]
    assert '<a href="?currency=EUR" aria-current="page">' in text_of(staff, "/admin/figures/")


def test_revenue_is_what_was_invoiced_less_what_was_credited(db: None) -> None:
    make_issuer()
    account = make_account("contoso", now=NOW)
    pool, pack = pools.get_main_pool(account.pk), make_pack(now=NOW)
    buy(pool, pack, now=NOW)
    buy(pool, pack, now=NOW, method_id=make_card(account, number="4000000000000002").pk)
    month = _book("USD").months[-1]
    assert (month.invoiced, month.credited, month.revenue) == (240, 0, 240)
    assert (month.credits_sold, month.sold) == (1000, 120)
    assert (month.payments, month.failed) == (2, 1)


def test_currencies_do_not_mix(db: None) -> None:
    for currency in ("EUR", "JPY"):
        account = make_account(f"org-{currency}", now=NOW, currency=currency)
        give_credits(account, "10", now=NOW, kind="purchase", cost_basis=Decimal(2))
    assert _book("EUR").months[-1].sold == _book("JPY").months[-1].sold == 20


def test_the_page_shows_a_currency_with_charts_and_tables(staff: Client, office: Office) -> None:
    give_credits(office.account, "1234", now=office.now, kind="purchase", cost_basis=Decimal("0.333"))
    page = text_of(staff, "/admin/figures/?currency=USD")
    assert "<strong>1,234</strong> <span>Credits sold this month</span>" in page
    assert "<strong>$410.92</strong> <span>Deferred" in page
    assert 'role="img" aria-label="Credits sold by month: 1,234 in all"' in page
    assert text_of(staff, "/admin/figures/?currency=XXX")


def test_the_figures_are_a_file_too(staff: Client, office: Office) -> None:
    response = staff.get("/admin/figures.csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(response).decode())))  # type: ignore[call-overload]
    assert len(rows) == 12
    assert rows[-1]["month"] == f"{office.now:%Y-%m}"
    assert rows[-1]["currency"] == "USD"


def test_a_chart_stands_on_zero_and_ends_on_a_round_number() -> None:
    chart = bar_chart([("a", Decimal(30)), ("b", Decimal(-5)), ("c", Decimal(0))])
    assert (chart.top, chart.half, chart.total) == (40, 20, 25)
    assert [(bar.y, bar.height) for bar in chart.bars] == [("50.00", "150.00"), ("200.00", "0.00"), ("200.00", "0.00")]
    assert bar_chart([]).top == 1
