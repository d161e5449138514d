"""Usage by the value of a property, read from the events."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection

from billing.accounts.models import Account
from billing.metering import properties, reversal
from billing.metering.properties import PropertyUsage, TooManyEvents
from tests.factories import make_account, make_meter
from tests.metering.makers import DAY, NOW, START, event, publish, rate, send


@pytest.fixture
def acme(db: None) -> Account:
    """Its tokens cost 1 credit each, 2 on the large model."""
    tokens = make_meter("tokens", now=START)
    images = make_meter("images", now=START)
    publish(rate(tokens), rate(tokens, "2", match={"model": "large"}), rate(images, "5"))
    return make_account("acme", now=START, time_zone="America/New_York")


def _usage(account: Account, name: str = "model", days: int = 7, **options: object) -> list[PropertyUsage]:
    return properties.list_by_property(
        account_id=account.pk,
        name=name,
        since=NOW - days * DAY,
        until=NOW + DAY,
        time_zone=account.time_zone,
        **options,  # type: ignore[arg-type]
    )


def _figures(rows: list[PropertyUsage]) -> list[tuple[str | None, int, int, int]]:
    return [(row.value, int(row.quantity), int(row.credits), row.events) for row in rows]


def test_usage_adds_up_by_value(acme: Account) -> None:
    send(
        event(3, properties={"model": "large"}),
        event(4, properties={"model": "large"}),
        event(5, properties={"model": "small"}),
        event(6),
    )
    assert _figures(_usage(acme)) == [("large", 7, 14, 2), ("small", 5, 5, 1), (None, 6, 6, 1)]
    assert not any(row.is_rest for row in _usage(acme))


def test_numbers_and_booleans_are_values_too(acme: Account) -> None:
    send(event(1, properties={"seed": 7}), event(1, properties={"seed": True}), event(1, properties={"seed": None}))
    assert [row.value for row in _usage(acme, "seed")] == ["7", "true", None]


def test_days_are_those_of_the_time_zone(acme: Account) -> None:
    midnight = NOW.replace(hour=4, minute=0)  # 00:00 in New York
    send(event(1, at=midnight), event(2, at=midnight - timedelta(seconds=1)))
    rows = _usage(acme)
    assert [(row.day.isoformat(), row.quantity) for row in rows] == [("2026-03-09", 2), ("2026-03-10", 1)]


def test_what_happened_outside_the_range_is_not_counted(acme: Account) -> None:
    send(event(1, at=NOW - 8 * DAY), event(2, at=NOW - 6 * DAY))
    assert _figures(_usage(acme)) == [(None, 2, 2, 1)]


def test_what_was_reversed_is_not_counted(acme: Account) -> None:
    send(event(1, id="kept"), event(2, id="undone"))
    reversal.reverse_event(account_id=acme.pk, event_id="undone", reason="", actor="", now=NOW)
    assert _figures(_usage(acme)) == [(None, 1, 1, 1)]


def test_one_meter_can_be_asked_for(acme: Account) -> None:
    send(event(1), event(2, meter="images"))
    (row,) = [row for row in _usage(acme) if row.quantity == 2]
    assert _usage(acme, meter_id=row.meter_id) == [row]


def test_another_accounts_events_are_its_own(acme: Account) -> None:
    make_account("other", now=START)
    send(event(1, account="other", properties={"model": "large"}))
    assert _usage(acme) == []
    assert properties.list_names(account_id=acme.pk, since=NOW - DAY) == []


def test_values_beyond_the_costliest_are_put_together(acme: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(properties, "MAX_VALUES", 2)
    send(*(event(cost, properties={"who": f"user {cost}"}) for cost in (9, 8, 3, 2)), event(1))
    rows = [(row.value, row.is_rest, row.credits) for row in _usage(acme, "who")]
    assert rows == [("user 8", False, 8), ("user 9", False, 9), (None, False, 1), (None, True, 5)]


def test_names_come_the_most_common_first(acme: Account) -> None:
    send(event(1, properties={"model": "a", "region": "b"}), event(1, properties={"region": "c"}), event(1))
    assert properties.list_names(account_id=acme.pk, since=NOW - DAY) == ["region", "model"]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes longer than anybody waits."""
    monkeypatch.setattr(properties, "PATIENCE_MS", 20)
    monkeypatch.setattr(properties, "_BY_PROPERTY", "SELECT pg_sleep(5)")
    monkeypatch.setattr(properties, "_NAMES", "SELECT pg_sleep(5)")


def test_it_gives_up_after_a_while_and_leaves_the_connection_usable(acme: Account, slow: None) -> None:
    with pytest.raises(TooManyEvents), properties.patient():
        _usage(acme)
    with pytest.raises(TooManyEvents), properties.patient():
        properties.list_names(account_id=acme.pk, since=NOW)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_another_fault_is_not_taken_for_impatience(acme: Account) -> None:
    with pytest.raises(OperationalError, match="lock timeout"), properties.patient():
        raise OperationalError("canceling statement due to lock timeout")


def test_a_name_cannot_leave_its_quotes(acme: Account) -> None:
    send(event(1, properties={"it's": "x"}))
    assert _figures(_usage(acme, "it's")) == [("x", 1, 1, 1)]
    assert _figures(_usage(acme, "' OR 1=1 --")) == [(None, 1, 1, 1)]
