"""Validators of account fields, shared by models, API and admin."""

import re
from functools import cache
from zoneinfo import available_timezones

from babel import Locale
from django.core.exceptions import ValidationError
from django.db import models
from moneyed import CURRENCIES

from billing.accounts.text import validate_name

# Groupings and places without an ISO 3166-1 code of their own.
NO_COUNTRIES = frozenset({"AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"})

_EXTERNAL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}\Z", re.ASCII)


def validate_external_id(value: str) -> None:
    """Refuse ids that are not URL-safe or that look like ours (`acc_…`)."""
    if not _EXTERNAL_ID.match(value):
        raise ValidationError(
            "Use 1 to 100 letters, digits or . _ : @ - and start with a letter or digit.", code="invalid_external_id"
        )
    if value.startswith("acc_"):
        raise ValidationError("An external id may not start with acc_, which marks our own ids.", code="reserved")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def validate_time_zone(value: str) -> None:
    """Refuse what is not an IANA time zone name."""
    if value not in _zones():
        raise ValidationError("Use an IANA time zone name, e.g. Europe/Berlin.", code="invalid_time_zone")


def validate_currency(value: str) -> None:
    """Refuse what is not an ISO 4217 currency code."""
    if value not in CURRENCIES:
        raise ValidationError("Use a three-letter ISO 4217 currency code, e.g. EUR.", code="invalid_currency")


@cache
def country_codes() -> frozenset[str]:
    """The ISO 3166-1 codes of all countries, with XK for Kosovo."""
    codes = map(str, Locale("en").territories)
    return frozenset(code for code in codes if len(code) == 2) - NO_COUNTRIES


def validate_country(value: str) -> None:
    """Refuse what is not an ISO 3166-1 country code: of a country that nobody knows no tax would be asked."""
    if value not in country_codes():
        raise ValidationError("Use a two-letter ISO 3166-1 country code, e.g. DE or GB.", code="invalid_country")


class LowerEmailField(models.EmailField):
    """An e-mail address that is stored, and looked up, in lower case: to people it is the same address."""

    default_validators = [*models.EmailField.default_validators, validate_name]

    def to_python(self, value: object) -> str | None:
        text = super().to_python(value)
        return text.lower() if text else text

    def get_prep_value(self, value: object) -> str | None:
        text = super().get_prep_value(value)
        return text.lower() if text else text
