"""The tax engine of the rate table: by the buyer's country and region, what is sold, and the day. One query a sale."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from billing.catalog import pricing
from billing.invoicing import tax
from billing.invoicing.tax import STANDARD, LineTax, Sale, Tax, Treatment, line_tax
from billing.invoicing.tax_models import TaxRate


def work_out(sale: Sale) -> tuple[LineTax, ...]:
    """The tax of each line, rounded once per rate (and once more for the lines whose price includes it).

    A price that includes tax stays as it is: net and tax add up to it. No rate, no tax.
    """
    taxes = _decide(sale)
    amounts: dict[int, Decimal] = {}
    for each, included in dict.fromkeys((taxes[line.category], line.includes_tax) for line in sale.lines):
        of_it = [
            index
            for index, line in enumerate(sale.lines)
            if (taxes[line.category], line.includes_tax) == (each, included)
        ]
        shares = pricing.share_tax(
            [sale.lines[index].amount for index in of_it], each.percent, sale.currency, included=included
        )
        amounts.update(zip(of_it, shares, strict=True))
    return tuple(line_tax(line, taxes[line.category], amounts[index]) for index, line in enumerate(sale.lines))


def prepare(sale: Sale, *, now: datetime) -> None:
    """Nothing: the table is always at hand."""


def _decide(sale: Sale) -> dict[str, Tax]:
    """How each category of the sale is taxed."""
    categories = {line.category for line in sale.lines}
    if sale.is_reverse_charge:
        return dict.fromkeys(categories, tax.reverse_charge(sale))
    rates = _rates_in_force(sale, categories)
    return {category: _tax_of(sale, category, rates) for category in categories}


def _rates_in_force(sale: Sale, categories: Collection[str]) -> list[TaxRate]:
    if sale.country not in sale.seller_countries:
        return []
    return list(
        TaxRate.objects.filter(
            Q(valid_to=None) | Q(valid_to__gt=sale.on),
            country=sale.country,
            region__in={sale.region, ""},
            category__in={*categories, STANDARD},
            valid_from__lte=sale.on,
        )
    )


def _tax_of(sale: Sale, category: str, rates: list[TaxRate]) -> Tax:
    """The category's own rate goes before the standard one, then the region's before the country's."""
    fitting = [rate for rate in rates if rate.category in (category, STANDARD)]
    best = max(fitting, key=lambda rate: (rate.category == category, rate.region == sale.region), default=None)
    if best is None:
        return tax.untaxed(sale)
    if sale.exemption:
        return tax.exempt(sale.exemption)
    return Tax(best.name, best.percent, Treatment.TAXED, "")
