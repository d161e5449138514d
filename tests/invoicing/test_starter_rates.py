"""The tax rates that come along: right, sourced, loaded once, and never over what staff have entered."""

import itertools
from datetime import date, timedelta
from decimal import Decimal

import eu_vat_rates_data
import pytest
from django.core.management import CommandError, call_command

from billing.accounts.tax_ids import EU_COUNTRIES
from billing.invoicing import starter_rates
from billing.invoicing.tax_models import TaxRate
from billing.management.commands import migrate
from tests.factories import make_issuer

pytestmark = pytest.mark.django_db
TODAY = date(2026, 10, 1)


def load(on=TODAY, **options):
    return starter_rates.load(on=on, **options)


def in_force(country, on, region=""):
    rows = TaxRate.objects.filter(country=country, region=region, valid_from__lte=on).exclude(valid_to__lte=on)
    return [rate.percent for rate in rows]


@pytest.fixture
def published(monkeypatch):
    """Let the data set say something else about a country."""

    def say(country, percent, version="2027-03-01"):
        rates = eu_vat_rates_data.get_all_rates()
        monkeypatch.setattr(
            eu_vat_rates_data, "get_all_rates", lambda: {**rates, country: {**rates[country], "standard": percent}}
        )
        monkeypatch.setattr(eu_vat_rates_data, "data_version", version)
        starter_rates.read.cache_clear()

    yield say
    starter_rates.read.cache_clear()


def test_every_country_of_the_union_has_the_rate_of_the_commissions_database():
    rates = starter_rates.read()
    for country in EU_COUNTRIES:
        assert rates[country, ""][-1].percent == Decimal(str(eu_vat_rates_data.get_standard_rate(country)))
        assert "Taxes in Europe Database" in rates[country, ""][-1].source


def test_every_rate_has_a_source_and_its_day_and_histories_have_no_gaps():
    for of_place in starter_rates.read().values():
        assert of_place[-1].valid_to is None
        for rate, following in itertools.pairwise(of_place):
            assert rate.valid_to == following.valid_from
        for rate in of_place:
            assert rate.source
            assert rate.source_on >= date(2026, 9, 29)


def test_loading_fills_an_empty_table_once():
    loaded = load()
    assert len(loaded.added) == len(starter_rates.read()) > 55
    assert {"DE", "FR", "GB", "CA-ON", "JP"} <= set(loaded.added)
    count = TaxRate.objects.count()
    again = load(TODAY + timedelta(days=400))
    assert (again.added, again.changed, again.differing) == ((), (), ())
    assert (len(again.kept), TaxRate.objects.count()) == (len(loaded.added), count)


@pytest.mark.parametrize(
    ("country", "on", "percent"),
    [
        ("DE", date(2020, 6, 30), "19"), ("DE", date(2020, 7, 1), "16"), ("DE", date(2021, 1, 1), "19"),
        ("EE", date(2025, 6, 30), "22"), ("EE", date(2025, 7, 1), "24"), ("SK", date(2025, 1, 1), "23"),
        ("RO", date(2025, 8, 1), "21"), ("FI", date(2024, 9, 1), "25.5"), ("CH", date(2023, 12, 31), "7.7"),
    ],
)  # fmt: skip
def test_changes_of_the_past_have_their_days(country, on, percent):
    load()
    assert in_force(country, on) == [Decimal(percent)]


def test_only_some_countries_can_be_loaded():
    assert load(countries={"CA"}).added == ("CA", "CA-NB", "CA-NL", "CA-NS", "CA-ON", "CA-PE")
    assert in_force("CA", TODAY, region="NS") == [14]


def test_a_new_rate_follows_the_old_one_from_the_day_of_loading(published):
    load(countries={"AT"})
    published("AT", 22.5)
    loaded = load(date(2027, 4, 1), countries={"AT"})
    assert loaded.changed == ("AT",)
    assert (in_force("AT", date(2027, 2, 28)), in_force("AT", date(2027, 3, 1))) == ([20], [Decimal("22.5")])
    assert load(date(2027, 5, 1), countries={"AT"}).kept == ("AT",)


def test_what_staff_have_entered_stays(published):
    for country, percent, until in (("AT", "19", None), ("BE", "21", date(2030, 1, 1)), ("DE", "19", None)):
        TaxRate.objects.create(country=country, percent=percent, valid_from=date(2020, 1, 1), valid_to=until)
    before = list(TaxRate.objects.order_by("pk").values())
    loaded = load(countries={"AT", "BE", "DE"})
    assert (loaded.differing, loaded.kept) == (("AT", "BE"), ("DE",))
    assert list(TaxRate.objects.order_by("pk").values()) == before


def test_rates_of_other_categories_do_not_matter():
    TaxRate.objects.create(country="AT", category="books", percent=10, valid_from=date(2020, 1, 1))
    assert load(countries={"AT"}).added == ("AT",)


def test_a_country_that_the_data_set_adds_begins_with_its_version(published):
    assert starter_rates.read()["GE", ""][0].valid_from == date.fromisoformat(eu_vat_rates_data.data_version)
    assert ("XI", "") not in starter_rates.read()


def test_the_command_tells_what_it_did(capsys):
    TaxRate.objects.create(country="AT", percent=19, valid_from=date(2020, 1, 1))
    call_command("load_tax_rates", "--country", "at", "--country", "de")
    said = capsys.readouterr().out
    assert "1 places added, 0 changed, 0 as they were." in said
    assert "differ, and stay: AT" in said
    with pytest.raises(CommandError, match="ZZ"):
        call_command("load_tax_rates", "--country", "ZZ")


@pytest.mark.parametrize(("has_issuer", "has_rate"), [(False, False), (True, False), (False, True)])
def test_migrating_gives_rates_to_a_new_installation_only(settings, has_issuer, has_rate):
    if has_issuer:
        make_issuer(rates={})
    if has_rate:
        TaxRate.objects.create(country="AT", percent=19, valid_from=date(2020, 1, 1))
    migrate.load_tax_rates()
    assert TaxRate.objects.count() == has_rate
    settings.FLORIN_STARTER_TAX_RATES = True
    migrate.load_tax_rates()
    assert (TaxRate.objects.count() > 50) == (not has_issuer and not has_rate)
