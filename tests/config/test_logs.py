"""What logs say of an error: where it happened, and nothing of what the frames held."""

import json
import logging
import logging.config
import sys
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.log import log_response

from billing.tracing import redaction
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


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("key fl_a1b2c3d4e5f6_9hX-secretpart was used", "key fl_a1b2c3d4e5f6_[redacted] was used"),
        ("Invalid API Key: sk_live_51Habcdefgh", "Invalid API Key: [redacted]"),
        ("secret whsec_C2FVsBQIhrscChlQ=", "secret [redacted]"),
        ("pi_3Mtw_secret_YrKJ opens pi_3Mtw", "pi_3Mtw_secret_[redacted] opens pi_3Mtw"),
        ("'Authorization': 'Bearer abc123456'", "'Authorization': '[redacted]'"),
        ("sent Bearer abc_12345678 on", "sent Bearer [redacted] on"),
        ("postgresql://app:s3cr:et@db/florin", "postgresql://app:[redacted]@db/florin"),
        ('{"password": "correct horse", "name": "Ann"}', '{"password": "[redacted]", "name": "Ann"}'),
        ("password1=abcdef&next=/", "password1=[redacted]&next=/"),
        ("{'cvc': '123'}", "{'cvc': '[redacted]'}"),
        ("card 4242 4242 4242 4242 and 4242424242424242", "card [redacted] and [redacted]"),
        ("posting 4242424242424243 of 12345.678901234567", "posting 4242424242424243 of 12345.678901234567"),
        ("a basic authentication, tokens expired", "a basic authentication, tokens expired"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_and_the_rest_stays(text, redacted):
    assert redaction.redact(text) == redacted


def test_the_installations_own_secrets_are_taken_out_wherever_they_stand():
    secrets = redaction.secrets_of(["s3cret/key", "redis://:pa%2Fss-word@broker:6379/0", "memory://", "", None])
    assert secrets == ["pa%2Fss-word", "s3cret%2Fkey", "pa/ss-word", "s3cret/key"]
    assert redaction.redact("no pa/ss-word, no s3cret/key", secrets=secrets) == "no [redacted], no [redacted]"


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("as_json", [True, False], ids=["production", "demo"])
def test_an_errors_message_is_written_without_the_secrets_in_it(as_json, settings):
    formatter = logging_settings(as_json=as_json, level="INFO")["formatters"]["florin"]
    made = formatter["()"](**{name: value for name, value in formatter.items() if name != "()"})
    try:
        raise ValueError(f"password={CANARY} key={settings.SECRET_KEY} card 4242 4242 4242 4242")
    except ValueError:
        record = logging.LogRecord(
            "florin", logging.ERROR, __file__, 1, "card %s", ("4000000000000002",), sys.exc_info()
        )
    line = made.format(record)
    assert line.count(redaction.REDACTED) >= 4
    assert not any(secret in line for secret in (CANARY, settings.SECRET_KEY, "4242 4242", "4000000000000002"))


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize(("status", "level"), [(402, "info"), (409, "info"), (403, "warning"), (500, "error")])
def test_refusals_that_belong_to_the_day_are_no_warnings_and_no_query_is_written(status, level, capsys):
    logging.config.dictConfig(logging_settings(as_json=True, level="INFO"))
    request = RequestFactory().get("/api/v1/charges", {"email": CANARY})
    log_response("%s: %s", "Refused", request.path, response=HttpResponse(status=status), request=request)
    line = capsys.readouterr().err
    told = json.loads(line)
    assert (told["level"], told["path"], told["status_code"]) == (level, "/api/v1/charges", status)
    assert CANARY not in line


@pytest.mark.usefixtures("_restored")
def test_at_a_higher_level_they_are_not_written_at_all(capsys):
    logging.config.dictConfig(logging_settings(as_json=True, level="WARNING"))
    request = RequestFactory().get("/api/v1/charges")
    log_response("%s: %s", "Refused", request.path, response=HttpResponse(status=402), request=request)
    assert capsys.readouterr().err == ""
