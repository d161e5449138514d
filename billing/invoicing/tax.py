"""Which tax a sale bears: by the buyer's country, region and tax number, and what is sold. Reads the rate table only.

Prices are net. A business in another EU country than the issuer's owes the tax itself (reverse charge); where no rate
is in force nothing is charged.
"""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Q
from django.utils.translation import gettext as _

from billing.invoicing.models import InvoiceLine, Issuer, TaxRate

STANDARD = "standard"

EU_COUNTRIES = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)
# VAT numbers begin with the country's code, but for Greece.
_VAT_PREFIX = {"GR": "EL"}
_VAT_NUMBER = re.compile(r"[0-9A-Z+*]{2,12}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tax:
    """How a line is taxed. `note` is the sentence that the invoice must carry, if any."""

    name: str
    percent: Decimal
    treatment: InvoiceLine.Treatment
    note: str


def decide(*, country: str, region: str, tax_number: str, issuer: Issuer, category: str, on: date) -> Tax:
    """The tax of one category of goods for a buyer, at the date of supply.

    The rate of the buyer's region goes before the country's, the category's before the standard one.
    """
    if is_reverse_charge(country=country, tax_number=tax_number, issuer=issuer):
        note = _("Reverse charge: the recipient owes the VAT (Article 196 of Directive 2006/112/EC).")
        return Tax(_("VAT"), Decimal(0), InvoiceLine.Treatment.REVERSE_CHARGE, note)
    rates = TaxRate.objects.filter(
        Q(valid_to=None) | Q(valid_to__gt=on),
        country=country,
        region__in={region, ""},
        category__in={category, STANDARD},
        valid_from__lte=on,
    )
    best = max(rates, key=lambda rate: (rate.category == category, rate.region == region), default=None)
    if best is not None:
        return Tax(best.name, best.percent, InvoiceLine.Treatment.TAXED, "")
    exported = issuer.country in EU_COUNTRIES and country not in EU_COUNTRIES
    note = _("Not subject to EU VAT: supplied outside the European Union.") if exported else ""
    return Tax("", Decimal(0), InvoiceLine.Treatment.UNTAXED, note)


def is_reverse_charge(*, country: str, tax_number: str, issuer: Issuer) -> bool:
    """Whether the buyer, not the seller, owes the tax: a business of another EU country than the issuer's.

    A business shows itself by a VAT number of its own country. Its form is looked at, so that any words typed into the
    field do not make a sale free of tax.
    """
    if country == issuer.country or not {country, issuer.country} <= EU_COUNTRIES:
        return False
    compact = re.sub(r"[\s.\-/]", "", tax_number.upper())
    prefix = _VAT_PREFIX.get(country, country)
    number = compact.removeprefix(prefix)
    return number != compact and bool(_VAT_NUMBER.match(number)) and any(sign.isdigit() for sign in number)
