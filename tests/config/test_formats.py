"""How figures and dates are written where no template says it: in the admin, above all."""

from datetime import UTC, datetime

from django.template import Context, Template
from django.utils import formats


def test_ids_have_no_separators() -> None:
    assert Template("{{ pk }}").render(Context({"pk": 1234567})) == "1234567"


def test_dates_are_iso_and_hours_are_24() -> None:
    at = datetime(2026, 11, 2, 15, 4, tzinfo=UTC)
    assert formats.date_format(at, "DATETIME_FORMAT") == "2026-11-02 15:04"
    assert formats.date_format(at, "SHORT_DATE_FORMAT") == "2026-11-02"
    assert formats.date_format(at, "TIME_FORMAT") == "15:04"
