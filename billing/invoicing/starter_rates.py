"""The standard tax rates that come along, with who states them and when that was looked up; and loading them.

Europe's are those of the package eu-vat-rates-data, which takes the EU's from the Commission's TEDB; it knows
percentages and no dates, so the days since when they hold, and the rates before, stand in `starter_rates.csv` beside
the rates of other countries. Rates are loaded as dated rows; what staff have entered is never touched.
"""

import csv
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import eu_vat_rates_data
from django.db import transaction

from billing.invoicing.tax import STANDARD
from billing.invoicing.tax_models import TaxRate

_FILE = Path(__file__).with_name("starter_rates.csv")
# Northern Ireland is no country: its sales to businesses abroad are the United Kingdom's.
_NO_COUNTRIES = frozenset({"XI"})

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class StarterRate:
    """A standard rate of a country, or a region of it, for `[valid_from, valid_to)`."""

    country: str
    region: str
    name: str
    percent: Decimal
    valid_from: date
    valid_to: date | None
    source: str
    source_on: date


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading did, in places: rates new here, rates that have changed since, rates that were right already; and
    where staff's own rate says something else, which stays."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    differing: tuple[str, ...]


@cache
def read() -> dict[Place, tuple[StarterRate, ...]]:
    """All starter rates by place, in the order of time; the last one of each place is in force."""
    version = date.fromisoformat(eu_vat_rates_data.data_version)
    rates: dict[Place, list[StarterRate]] = defaultdict(list)
    with _FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rates[row["country"], row["region"]].append(
                StarterRate(
                    country=row["country"],
                    region=row["region"],
                    name=row["name"],
                    percent=Decimal(row["percent"]),
                    valid_from=date.fromisoformat(row["valid_from"]),
                    valid_to=date.fromisoformat(row["valid_to"]) if row["valid_to"] else None,
                    source=row["source"] or _source(row["country"], version),
                    source_on=date.fromisoformat(row["source_on"]) if row["source_on"] else version,
                )
            )
    for country, said in eu_vat_rates_data.get_all_rates().items():
        if country not in _NO_COUNTRIES:
            _agree(rates[country, ""], country, Decimal(str(said["standard"])), version)
    return {place: tuple(of_it) for place, of_it in sorted(rates.items())}


def load(*, on: date, countries: Collection[str] = ()) -> Loaded:
    """Write the rates of some countries (default: all) that the table lacks; one transaction. Doing it again changes
    nothing.

    Where there is none, a place's whole history. Where one of an earlier loading is in force on that day and has
    changed since, it ends and the new one follows it, not before `on` unless it is known since when it holds.
    """
    found: dict[str, list[str]] = {"added": [], "changed": [], "kept": [], "differing": []}
    with transaction.atomic():
        present: dict[Place, list[TaxRate]] = defaultdict(list)
        for rate in TaxRate.objects.filter(category=STANDARD).select_for_update().order_by("valid_from"):
            present[rate.country, rate.region].append(rate)
        for place, rates in read().items():
            if not countries or place[0] in countries:
                outcome = _load_place(rates, present[place], on)
                found[outcome].append("-".join(filter(None, place)))
    return Loaded(**{name: tuple(places) for name, places in found.items()})


def _load_place(rates: tuple[StarterRate, ...], present: list[TaxRate], on: date) -> str:
    if not present:
        TaxRate.objects.bulk_create([_row(rate, rate.valid_from, rate.valid_to) for rate in rates])
        return "added"
    latest, current = present[-1], rates[-1]
    if latest.valid_to is None and latest.percent == current.percent:
        return "kept"
    if not latest.source or latest.valid_to is not None:
        return "differing"
    since = current.valid_from if current.valid_from > latest.valid_from else max(on, latest.valid_from)
    if since == latest.valid_from:
        return "differing"
    latest.valid_to = since
    latest.save(update_fields=["valid_to"])
    _row(current, since, None).save(force_insert=True)
    return "changed"


def _row(rate: StarterRate, valid_from: date, valid_to: date | None) -> TaxRate:
    return TaxRate(
        country=rate.country,
        region=rate.region,
        name=rate.name,
        percent=rate.percent,
        valid_from=valid_from,
        valid_to=valid_to,
        source=rate.source,
        source_on=rate.source_on,
    )


def _agree(rates: list[StarterRate], country: str, percent: Decimal, version: date) -> None:
    """Let the history end with what the data set says, which is newer than the file."""
    if rates and rates[-1].percent == percent:
        return
    if rates:
        last = rates.pop()
        fields = {name: getattr(last, name) for name in last.__dataclass_fields__}
        rates.append(StarterRate(**{**fields, "valid_to": version}))
    rates.append(StarterRate(country, "", "VAT", percent, version, None, _source(country, version), version))


def _source(country: str, version: date) -> str:
    if eu_vat_rates_data.is_eu_member(country):
        return f"European Commission, Taxes in Europe Database (eu-vat-rates-data {version})"
    return f"eu-vat-rates-data {version}"
