"""Countries, currencies and time zones to choose from, and which of them a browser probably means."""

from collections.abc import Iterable
from functools import cache
from zoneinfo import available_timezones

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.numbers import get_currency_name, get_territory_currencies
from django.utils.translation import get_language
from django.utils.translation.trans_real import parse_accept_lang_header
from moneyed import CURRENCIES

from billing.accounts.fields import country_codes

# Where the first zone by the alphabet is not where most people live.
MAIN_ZONES = {
    "AR": "America/Argentina/Buenos_Aires", "AU": "Australia/Sydney", "BR": "America/Sao_Paulo",
    "CA": "America/Toronto", "CD": "Africa/Kinshasa", "CL": "America/Santiago", "CN": "Asia/Shanghai",
    "EC": "America/Guayaquil", "ES": "Europe/Madrid", "ID": "Asia/Jakarta", "KZ": "Asia/Almaty",
    "MX": "America/Mexico_City", "NZ": "Pacific/Auckland", "PT": "Europe/Lisbon", "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv", "US": "America/New_York", "UZ": "Asia/Tashkent",
}  # fmt: skip
FALLBACK = "US"


def list_countries() -> list[tuple[str, str]]:
    """Code and name of every country, by name."""
    return list(_countries(get_language() or "en"))


def list_currencies(codes: Iterable[str]) -> list[tuple[str, str]]:
    """These currencies' codes, each with its name."""
    locale = _locale(get_language() or "en")
    return [(code, f"{code} · {get_currency_name(code, locale=locale)}") for code in codes]


@cache
def _countries(language: str) -> tuple[tuple[str, str], ...]:
    names = _locale(language).territories
    countries = ((code, name) for code, name in names.items() if code in country_codes())
    return tuple(sorted(countries, key=lambda country: country[1]))


@cache
def list_time_zones() -> tuple[tuple[str, str], ...]:
    """Every time zone where people live, by name."""
    zones = get_global("zone_territories").keys() & available_timezones()
    return (("UTC", "UTC"), *((zone, zone.replace("_", " ")) for zone in sorted(zones) if "/" in zone))


def canonical_time_zone(name: str) -> str:
    """A time zone by the name that `list_time_zones` has: browsers say `Asia/Calcutta` for `Asia/Kolkata`."""
    return str(get_global("zone_aliases").get(name, name))


def guess_country(accept_language: str) -> str:
    """The country a browser's languages point to: `de-AT` is AT, `de` is DE; US where nothing does."""
    known = {code for code, _ in list_countries()}
    for language, _ in parse_accept_lang_header(accept_language.lower()):
        region = language.rpartition("-")[2].upper()
        if "-" in language and region in known:
            return region
        likely = get_global("likely_subtags").get(language.partition("-")[0], "").rpartition("_")[2]
        if likely in known:
            return likely
    return FALLBACK


def usual_currency(country: str) -> str:
    """What people in the country pay with."""
    return next((code for code in get_territory_currencies(country) if code in CURRENCIES), "USD")


def usual_time_zone(country: str) -> str:
    """The zone where most people in the country live, or its first."""
    if country in MAIN_ZONES:
        return MAIN_ZONES[country]
    territories = get_global("zone_territories")
    return next((zone for zone, _ in list_time_zones() if territories.get(zone) == country), "UTC")


def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")
