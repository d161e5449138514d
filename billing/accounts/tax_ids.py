"""Tax numbers as texts: which of them are VAT numbers, and the one way each is written. No I/O.

VAT follows areas and not countries: Article 7 of Directive 2006/112/EC counts Monaco as France and the Isle of Man as
the United Kingdom, and Article 6 leaves out of the EU's VAT what lies in its countries' customs territory only.
"""

import re
from contextlib import suppress

from stdnum.exceptions import ValidationError
from stdnum.util import get_cc_module

EU_COUNTRIES = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)
# VAT numbers begin with the country's code, but for Greece.
_VAT_PREFIX = {"GR": "EL"}
_COUNTED_AS = {"MC": "FR", "IM": "GB"}
# By region (ISO 3166-2, without the country) or postal code, with a code of its own for what lies outside. Others, the
# Åland Islands and France's overseas departments among them, are countries of their own in ISO 3166-1, not of the EU.
_OUTSIDE_REGIONS = {
    ("ES", "CN"): "IC", ("ES", "GC"): "IC", ("ES", "TF"): "IC", ("ES", "CE"): "EA", ("ES", "ML"): "EA",
    ("FI", "01"): "AX", ("FR", "971"): "GP", ("FR", "972"): "MQ", ("FR", "973"): "GF", ("FR", "974"): "RE",
    ("FR", "976"): "YT", ("GR", "69"): "XA",
}  # fmt: skip
_OUTSIDE_POSTAL_CODES = {
    ("DE", "27498"): "XH", ("DE", "78266"): "XB", ("IT", "23041"): "XL", ("IT", "22061"): "XC",
}  # fmt: skip
_OUTSIDE_POSTAL_AREAS = {("ES", "35"): "IC", ("ES", "38"): "IC", ("ES", "51"): "EA", ("ES", "52"): "EA"}


def vat_area(country: str, region: str = "", postal_code: str = "") -> str:
    """The country whose VAT holds at an address; for places outside the EU's VAT a code that is none of its
    countries'."""
    if country in _COUNTED_AS:
        return _COUNTED_AS[country]
    code = "".join(postal_code.split())
    return (
        _OUTSIDE_REGIONS.get((country, region.upper().removeprefix(f"{country}-")))
        or _OUTSIDE_POSTAL_CODES.get((country, code))
        or (_OUTSIDE_POSTAL_AREAS.get((country, code[:2])) if len(code) == 5 else None)
        or country
    )


def find_vat_id(country: str, text: str) -> str | None:
    """The EU VAT number that the text is, in the form the register has it (`FR40303265045`, `EL094259216`).

    It must begin with the prefix of its country's VAT (Greece's may be `GR`) and have the form and the check digits of
    that country; else None.
    """
    country = _COUNTED_AS.get(country, country)
    if country not in EU_COUNTRIES:
        return None
    compact = _compact(text)
    prefix = _VAT_PREFIX.get(country, country)
    if compact.startswith(country):
        compact = prefix + compact.removeprefix(country)
    if not compact.isascii() or not compact.startswith(prefix):
        return None
    module = get_cc_module(country.lower(), "vat")
    with suppress(ValidationError):
        return None if module is None else prefix + module.validate(compact).removeprefix(prefix)
    return None


def find_prefixed_vat_id(country: str, text: str) -> str | None:
    """The number that may stand where EN 16931 wants a VAT identifier, which begins with its country's prefix
    (BR-CO-09): an EU VAT number, or one that another country writes so; else None."""
    if country in EU_COUNTRIES or _COUNTED_AS.get(country) in EU_COUNTRIES:
        return find_vat_id(country, text)
    country = _COUNTED_AS.get(country, country)
    compact = _compact(text)
    module = get_cc_module(country.lower(), "vat")
    return compact if compact.startswith(country) and module is not None and module.is_valid(compact) else None


def looks_right(country: str, text: str) -> bool:
    """Whether the text has the form of a VAT number of the country; yes where no form is known to us."""
    if vat_area(country) in EU_COUNTRIES:
        return find_vat_id(country, text) is not None
    module = get_cc_module(country.lower(), "vat")
    return module is None or module.is_valid(text)


def normalise(country: str, text: str) -> str:
    """The way the number is kept and shown: a VAT number as its register writes it, any other in capitals with single
    spaces."""
    return find_prefixed_vat_id(country, text) or " ".join(text.split()).upper()


def _compact(text: str) -> str:
    return re.sub(r"[\s.\-/]", "", text.upper())
