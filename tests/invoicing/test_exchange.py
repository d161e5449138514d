"""Exchange rates: the bank's files, the rate of a day, and what an invoice in another currency says of it."""

import io
import zipfile
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from billing import tasks
from billing.invoicing import crediting, exchange
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import Issuer
from billing.invoicing.tax_models import ExchangeRate
from tests.factories import NOW
from tests.invoicing.makers import issue, plain_line

pytestmark = pytest.mark.django_db

DAY = NOW.date()
HISTORY = """Date,USD,JPY,CYP,
2025-02-28,1.0411,156.76,N/A,
2025-02-27,1.0477,157.07,N/A,
"""
DAILY = "Date, USD, JPY, \n28 February 2025, 1.0411, 156.76, \n"


def rate(currency, per_euro, on=DAY):
    ExchangeRate.objects.create(currency=currency, on=on, rate=Decimal(per_euro))


def test_the_banks_history_is_imported_once():
    assert exchange.import_rates(HISTORY.encode()) == 4
    assert exchange.import_rates(HISTORY.encode()) == 0
    assert ExchangeRate.objects.get(currency="USD", on=date(2025, 2, 28)).rate == Decimal("1.0411")
    assert not ExchangeRate.objects.filter(currency="CYP").exists()


def test_the_banks_daily_file_is_read_and_a_zip_of_it():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("eurofxref.csv", DAILY)
    assert exchange.import_rates(packed.getvalue()) == 2
    assert ExchangeRate.objects.get(currency="JPY").on == date(2025, 2, 28)


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"<html>", b"Date\n", b"PK\x03\x04 broken", b"\xff\xfe", b"Date,USD\nyesterday,1.1\n",
        b"Date,USD\n2025-02-28,0\n", b"Date,USD\n2025-02-28,NaN\n", b"Date,USD\n2025-02-28,1.1\n2025-02-27,x\n",
    ],
)  # fmt: skip
def test_files_that_are_not_the_banks_are_refused_whole(wrong):
    with pytest.raises(exchange.UnreadableRates):
        exchange.import_rates(wrong)
    assert not ExchangeRate.objects.exists()


def test_a_rate_is_the_last_published_and_crosses_through_the_euro():
    rate("USD", "1.25")
    rate("JPY", "150")
    assert exchange.find_rate(currency="USD", base="EUR", on=DAY) == exchange.Rate(Decimal("0.8"), DAY)
    assert exchange.find_rate(currency="EUR", base="USD", on=DAY + timedelta(days=9)).worth == Decimal("1.25")
    assert exchange.find_rate(currency="JPY", base="USD", on=DAY).worth == Decimal("0.008333333333")


def test_both_rates_are_of_one_day():
    rate("USD", "1.25", DAY - timedelta(days=1))
    rate("USD", "1.30")
    rate("JPY", "150", DAY - timedelta(days=1))
    found = exchange.find_rate(currency="JPY", base="USD", on=DAY)
    assert (found.worth, found.on) == (Decimal("0.008333333333"), DAY - timedelta(days=1))


def test_a_rate_that_is_too_old_or_of_a_later_day_is_none():
    rate("USD", "1.25")
    assert exchange.find_rate(currency="USD", base="EUR", on=DAY + timedelta(days=10)) is None
    assert exchange.find_rate(currency="USD", base="EUR", on=DAY - timedelta(days=1)) is None
    assert exchange.find_rate(currency="SEK", base="EUR", on=DAY) is None


def test_an_invoice_in_another_currency_says_its_tax_in_that_of_the_books(issuer, account):
    Issuer.objects.update(base_currency="EUR")
    rate("USD", "1.0411", DAY - timedelta(days=1))
    invoice = issue(account, plain_line("100.00"), currency="USD")
    assert (invoice.base_currency, invoice.base_rate, invoice.base_rate_on, invoice.tax_in_base) == (
        "EUR", Decimal("0.960522524253"), DAY - timedelta(days=1), Decimal("18.25"),
    )  # fmt: skip
    item = CreditItem(invoice.lines.get().pk, Decimal("50.00"))
    rate("USD", "1.5")
    note = crediting.credit(invoice_id=invoice.pk, reference="c", reason="r", items=[item], actor="", now=NOW)
    assert (note.base_rate, note.base_rate_on, note.tax_in_base) == (
        invoice.base_rate, invoice.base_rate_on, Decimal("9.12"),
    )  # fmt: skip


@pytest.mark.parametrize(("base", "currency"), [("EUR", "EUR"), ("", "USD"), ("EUR", "KWD")])
def test_no_rate_is_said_where_none_is_needed_or_known(issuer, account, base, currency):
    Issuer.objects.update(base_currency=base)
    rate("USD", "1.25")
    invoice = issue(account, plain_line("100.00"), currency=currency)
    assert (invoice.base_currency, invoice.base_rate, invoice.base_rate_on, invoice.tax_in_base) == ("", *[None] * 3)


def test_the_command_imports_a_file_or_says_what_is_wrong(tmp_path, capsys, settings):
    file = tmp_path / "eurofxref.csv"
    file.write_text(DAILY)
    call_command("import_exchange_rates", str(file))
    assert capsys.readouterr().out == "2 new rates.\n"
    file.write_text("nonsense")
    with pytest.raises(CommandError, match="no rates were imported: the first line"):
        call_command("import_exchange_rates", str(file))
    with pytest.raises(CommandError, match="no rates were imported"):
        call_command("import_exchange_rates", str(tmp_path / "missing"))
    settings.FLORIN_EXCHANGE_RATES_URL = ""
    with pytest.raises(CommandError, match="Name a file"):
        call_command("import_exchange_rates")
    settings.FLORIN_EXCHANGE_RATES_URL = "file:///etc/passwd"
    with pytest.raises(CommandError, match="must begin with https"):
        call_command("import_exchange_rates")


def test_the_periodic_job_fetches_from_the_address_if_there_is_one(settings, monkeypatch):
    asked = []
    monkeypatch.setattr(exchange, "fetch", lambda url: asked.append(url) or DAILY.encode())
    settings.FLORIN_EXCHANGE_RATES_URL = ""
    tasks.import_exchange_rates()
    settings.FLORIN_EXCHANGE_RATES_URL = "https://rates.example/daily.csv"
    tasks.import_exchange_rates()
    assert asked == ["https://rates.example/daily.csv"]
    assert ExchangeRate.objects.count() == 2
