"""The words of tax: what an engine is told of a sale, and what it answers line by line.

An engine works out the taxes of a sale. `table_tax` reads them from the rate table; `stripe_tax` asks Stripe Tax, never
inside a transaction, and reads inside it what was answered. `engines` says which one is configured.

A price is net, or it has whatever tax there is in it: then the buyer pays just that, and where no tax is charged
(reverse charge, exemption, no rate) all of it is net.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from billing.accounts.models import Account
from billing.accounts.tax_ids import EU_COUNTRIES, vat_area
from billing.invoicing import tax_numbers
from billing.invoicing.models import InvoiceLine, Issuer
from billing.invoicing.tax_models import TaxExemption

STANDARD = "standard"
Treatment = InvoiceLine.Treatment


class TaxNotPrepared(Exception):
    """The engine has not been asked about this sale yet: `engines.prepare(sale)` outside of any transaction, and try
    again (`engines.with_tax` does both)."""

    def __init__(self, sale: "Sale") -> None:
        super().__init__("The tax of this sale has still to be worked out.")
        self.sale = sale


class TaxUnavailable(Exception):
    """The engine gives no answer, or says it cannot tell from what is known of the buyer (`reason`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SaleLine:
    """What an engine is told of a line: money of the sale's currency, net unless it `includes_tax`."""

    amount: Decimal
    category: str
    includes_tax: bool


@dataclass(frozen=True, slots=True)
class Sale:
    """Everything that the tax of some lines depends on.

    Countries are those whose VAT holds (see `tax_ids.vat_area`). `tax_number` is the buyer's VAT number where it is of
    a form that its country has and not known to be wrong, else empty. `exemption` is the number of the certificate that
    holds on the day, if any. `seller_countries` are where the issuer charges tax.
    """

    seller: str
    seller_countries: tuple[str, ...]
    country: str
    region: str
    postal_code: str
    tax_number: str
    exemption: str
    currency: str
    on: date
    lines: tuple[SaleLine, ...]

    @property
    def is_reverse_charge(self) -> bool:
        """Whether the buyer, not the seller, owes the tax: a business of another EU country than the issuer's."""
        return bool(self.tax_number) and self.country != self.seller and {self.country, self.seller} <= EU_COUNTRIES

    def document(self) -> dict[str, Any]:
        """Itself as JSON has it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_plain))
        return found

    def fingerprint(self) -> str:
        """The same for equal sales, and for no others."""
        canonical = json.dumps(self.document(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Tax:
    """How a line is taxed. `note` is the sentence that the invoice must carry, if any."""

    name: str
    percent: Decimal
    treatment: InvoiceLine.Treatment
    note: str


@dataclass(frozen=True, slots=True)
class LineTax:
    """A line's net amount and its tax: together the price, where that includes tax."""

    tax: Tax
    net: Decimal
    amount: Decimal


class Engine(Protocol):
    """What works out taxes."""

    def work_out(self, sale: Sale) -> tuple[LineTax, ...]:
        """The tax of each line, in their order; reads the database only. Raises TaxNotPrepared."""

    def prepare(self, sale: Sale, *, now: datetime) -> None:
        """See to it that `work_out` can answer. It may talk to others, so never in a transaction. Raises
        TaxUnavailable."""


def sale_of(
    *,
    account: Account,
    issuer: Issuer,
    currency: str,
    lines: Sequence[SaleLine],
    on: date,
    exemption: str | None = None,
) -> Sale:
    """What the tax of these lines depends on, at a day of supply in the account's zone. Up to two queries; one less
    where the number of its certificate is known (`exemption`; empty: it has none)."""
    seller = vat_area(issuer.country)
    countries = {seller, *issuer.tax_countries} | (EU_COUNTRIES if seller in EU_COUNTRIES else set())
    country = vat_area(account.country, account.region, account.postal_code)
    return Sale(
        seller=seller,
        seller_countries=tuple(sorted(countries)),
        country=country,
        region=account.region,
        postal_code=account.postal_code,
        tax_number=tax_numbers.usable(account) if country != seller else "",
        exemption=_exemption_of(account, on) if exemption is None else exemption,
        currency=currency,
        on=on,
        lines=tuple(lines),
    )


def exemptions(*, account: Account, on: date) -> QuerySet[TaxExemption]:
    """The account's certificates that hold on a day where the account is: for its region before the whole country."""
    rows = TaxExemption.objects.filter(
        Q(valid_to=None) | Q(valid_to__gt=on),
        account=account,
        country=account.country,
        region__in={account.region, ""},
        valid_from__lte=on,
        withdrawn_at=None,
    )
    return rows.order_by("-region", "valid_from", "pk")


def reverse_charge(sale: Sale) -> Tax:
    """The buyer owes the tax."""
    note = _("Reverse charge: the recipient owes the tax.")
    if {sale.seller, sale.country} <= EU_COUNTRIES:
        note = _("Reverse charge: the recipient owes the VAT (Article 196 of Directive 2006/112/EC).")
    return Tax(_("VAT"), Decimal(0), Treatment.REVERSE_CHARGE, note)


def exempt(certificate: str) -> Tax:
    """The buyer need not pay tax."""
    note = _("Exempt from tax by certificate %(number)s.") % {"number": certificate} if certificate else ""
    return Tax("", Decimal(0), Treatment.EXEMPT, note or _("Exempt from tax."))


def untaxed(sale: Sale) -> Tax:
    """No tax is charged there."""
    exported = sale.seller in EU_COUNTRIES and sale.country not in EU_COUNTRIES
    note = _("Not subject to EU VAT: supplied outside the European Union.") if exported else ""
    return Tax("", Decimal(0), Treatment.UNTAXED, note)


def line_tax(line: SaleLine, tax: Tax, amount: Decimal) -> LineTax:
    """What a line comes to with this tax: where the price includes it, it is taken out of the price."""
    return LineTax(tax, line.amount - amount if line.includes_tax else line.amount, amount)


def _exemption_of(account: Account, on: date) -> str:
    found = exemptions(account=account, on=on).first()
    return found.number if found is not None else ""


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(type(value))
