"""No secret is seen in a log, an answer, a mail or what workers are sent, whatever breaks; and one id leads through all
of them."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from billing.tracing.redaction import REDACTED
from config.embedded import PostgresServer
from config.embedded.postgres import OWNER, RUNTIME
from tests.tracing.broken_production import CARD, NAME, SECRET, production

ROOT = Path(__file__).resolve().parents[2]

Lines = dict[str, list[dict[str, Any]]]


def run_tour() -> tuple[dict[str, Any], Lines]:
    """What production answered and sent at each place, and what it logged there."""
    name, server = connection.settings_dict["NAME"], PostgresServer("test")
    runtime, owner = (server.url(role).replace("/florin?", f"/{name}?") for role in (RUNTIME, OWNER))
    # Nobody asks for the password on this server.
    runtime = runtime.replace(f"{RUNTIME}@", f"{RUNTIME}:database-{SECRET}@")
    done = subprocess.run(
        [sys.executable, "-m", "tests.tracing.broken_production", owner],
        env=production(runtime), cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    logged: Lines = defaultdict(list)
    place = ""
    for line in map(json.loads, done.stderr.splitlines()):
        place = line.get("place", place)
        # That this checkout has no collected static files is no matter of a request.
        if "place" not in line and line["logger"] != "py.warnings":
            logged[place].append(line)
    return json.loads(done.stdout), logged


def has_failed(answer: dict[str, Any], lines: list[dict[str, Any]]) -> bool:
    return (
        answer.get("status", 0) >= 400
        or "raised" in answer
        or any(line["level"] in ("warning", "error") for line in lines)
    )


@pytest.mark.django_db(transaction=True)
def test_no_secret_is_seen_whatever_breaks_and_one_id_leads_through_it() -> None:
    told, logged = run_tour()
    places = told["places"]
    works = [place for place in places if not has_failed(places[place], logged[place])]
    assert works == ["works: sign-up"]
    assert len(places) >= 20
    log = json.dumps(logged)
    kept = log + json.dumps([told["sent"], told["rows"], told["printed"]])
    assert [word for word in (SECRET, NAME, CARD) if word in kept] == []
    assert [word for word in (SECRET, CARD) if word in json.dumps(told)] == []
    # What would have been seen: rows that PostgreSQL refused, keys and passwords that others repeated.
    assert 'constraint \\"picky\\"' in log
    assert sum(REDACTED in json.dumps(lines) for lines in logged.values()) >= 5
    answers = {place: answer for place, answer in places.items() if "status" in answer}
    for place, answer in answers.items():
        assert {line.get("request_id") for line in logged[place]} == {answer["headers"]["X-Request-Id"]}
        if answer["headers"]["Content-Type"] == "application/problem+json":
            assert json.loads(answer["body"])["instance"].endswith(f":{answer['headers']['X-Request-Id']}")
    sign_up = places["sign-up, no broker"]["headers"]["X-Request-Id"]
    assert told["mails"]
    assert sign_up in {line.get("request_id") for line in logged["mail server away"]}
    assert any(places["works: sign-up"]["headers"]["X-Request-Id"] in sent for sent in told["sent"])
