"""What logs say of an error: where it happened, and nothing of what the frames held."""

import json
import logging
import logging.config
import sys
from collections.abc import Iterator

import pytest
from django.conf import settings

from config.logs import logging_settings

CANARY = "canary-5f2c71"


@pytest.fixture
def _restored() -> Iterator[None]:
    """Give the test run its own logging back."""
    yield
    logging.config.dictConfig(settings.LOGGING)


def log_an_error(*, as_json: bool) -> str:
    """The line that one handler writes about an error whose frames hold a secret."""
    formatter = logging_settings(as_json=as_json, level="INFO")["formatters"]["florin"]
    made = formatter["()"](**{name: value for name, value in formatter.items() if name != "()"})
    try:
        fail_with({"password": CANARY}, card=CANARY)
    except ValueError:
        record = logging.LogRecord("florin", logging.ERROR, __file__, 1, "it failed", None, sys.exc_info())
    return made.format(record)


def fail_with(body: dict[str, str], *, card: str) -> None:
    secret = f"Bearer {card}"
    raise ValueError(f"nothing fits {len(body)} and {len(secret)}")


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("as_json", [True, False], ids=["production", "demo"])
def test_a_traceback_names_the_place_and_shows_no_locals(as_json):
    line = log_an_error(as_json=as_json)
    assert "fail_with" in line
    assert "nothing fits 1 and 20" in line
    assert CANARY not in line


@pytest.mark.usefixtures("_restored")
def test_production_writes_one_json_object_a_line():
    line = log_an_error(as_json=True)
    assert "\n" not in line
    assert json.loads(line)["exception"][0]["exc_type"] == "ValueError"
