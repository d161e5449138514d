"""Sessions of staff: how long they last, whatever those who hold them do."""

from datetime import datetime, timedelta

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.utils import timezone

from billing.accounts import sessions
from billing.accounts.models import User
from tests.factories import make_user
from tests.portal.entering import PASSWORD, sign_in

IDLE, LIFE = timedelta(minutes=30), timedelta(hours=12)


@pytest.fixture
def colleague(client: Client, db: None) -> Client:
    """A browser in which alice of the staff has just signed in."""
    User.objects.filter(pk=make_user("alice", password=PASSWORD).pk).update(is_staff=True)
    assert sign_in(client)
    return client


def _status_at(client: Client, moment: datetime, monkeypatch: pytest.MonkeyPatch, address: str = "/security") -> int:
    monkeypatch.setattr(timezone, "now", lambda: moment)
    return client.get(address).status_code


def test_staff_are_signed_out_after_half_an_hour_without_a_request(
    colleague: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    assert colleague.cookies["sessionid"]["max-age"] <= IDLE.total_seconds()
    statuses = [_status_at(colleague, now + IDLE * share, monkeypatch) for share in (0.9, 1.8, 2.9)]
    assert statuses == [200, 200, 302]


def test_staff_are_signed_out_twelve_hours_after_signing_in_whatever_they_do(
    colleague: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    moments = [now + number * timedelta(minutes=20) for number in range(1, 38)]
    found = {moment: _status_at(colleague, moment, monkeypatch) for moment in moments}
    assert {moment for moment, status in found.items() if status == 200} == {
        moment for moment in moments if moment < now + LIFE
    }


def test_what_a_page_fetches_by_itself_does_not_keep_staff_signed_in(
    colleague: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now + IDLE * 0.9)
    assert colleague.get("/security", headers={"HX-Request": "true"}).status_code == 200
    assert _status_at(colleague, now + IDLE * 1.1, monkeypatch) == 302


def test_customers_stay_signed_in(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    make_user("alice", password=PASSWORD)
    sign_in(client)
    assert _status_at(client, timezone.now() + timedelta(days=13), monkeypatch) == 200


def test_the_end_of_a_session_is_not_written_at_every_request(db: None) -> None:
    session, now = SessionStore(), timezone.now()
    sessions.limit(session, now=now)
    session.modified = False
    sessions.limit(session, now=now + timedelta(seconds=50))
    assert not session.modified
    sessions.limit(session, now=now + timedelta(seconds=60))
    assert session.modified
