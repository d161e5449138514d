"""An id counts once per account and source: two systems that number their events alike do not hide each other's."""

from decimal import Decimal

import pytest

from billing.ledger.models import Posting
from billing.metering import gauges, reversal, store
from billing.metering.models import EventReversal, GaugeReading, RejectedEvent, UniqueValue, UsageEvent
from billing.metering.usage import find_events, list_events
from tests.factories import make_meter
from tests.metering.makers import HOUR, NOW, START, assert_proven, available_in, charge, event, publish, rate, send

SOURCES = ("", "/gateway", "https://worker.example/?a=b")


def of_each_source(**fields):
    """The same event as each source reports it; the last as a CloudEvent."""
    flat = event(id="e1", **fields)
    cloud = {
        "specversion": "1.0", "id": "e1", "source": SOURCES[2], "type": flat["meter"], "subject": flat["account"],
        "time": flat["occurred_at"], "data": {"quantity": flat["quantity"], "properties": flat.get("properties", {})},
    }  # fmt: skip
    return [flat, {**flat, "source": SOURCES[1]}, cloud]


@pytest.mark.parametrize("copy_from", [1, 1_000_000], ids=["by COPY", "by INSERT"])
def test_equal_ids_of_different_sources_are_different_events(acme, priced, monkeypatch, copy_from):
    monkeypatch.setattr(store, "COPY_FROM", copy_from)
    events = of_each_source(quantity=10)
    done = send(*events, *events)
    assert [(one.id, one.source, one.status) for one in done.results] == [
        ("e1", source, status) for status in ("accepted", "duplicate") for source in SOURCES
    ]
    assert (send(*events).duplicates, available_in(acme)) == (3, 970)
    assert_proven()


def test_a_source_repeats_and_conflicts_only_with_itself(acme, priced):
    send(event(1, id="e1", source="/a"))
    statuses = [send(event(quantity, id="e1", source=source)).results[0].status
                for source, quantity in [("/a", 1), ("/a", 2), ("/b", 2), ("/b", 1)]]  # fmt: skip
    assert statuses == ["duplicate", "conflict", "accepted", "conflict"]
    assert available_in(acme) == 997


def test_names_of_postings_do_not_meet_whatever_ids_and_sources_say(acme, priced):
    odd = [("e1", "/a"), ("/a e1", ""), ("1", "/a"), ("a 1", "/"), ("@/a e1", ""), ("x" * 200, "y" * 200)]
    for event_id, source in odd:
        assert send(event(1, id=event_id, **({"source": source} if source else {}))).accepted == 1
    references = Posting.objects.filter(act="spend").values_list("reference", flat=True)
    assert len(set(references)) == len(odd)


def test_charges_of_two_sources_are_two_charges(acme, priced):
    for source in ("", "/a", "/a"):
        charge(5, id="c1", source=source)
        charge(id="c2", source=source, meter_key="", credits=Decimal(7))
    assert available_in(acme) == 1000 - 2 * 5 - 2 * 7
    assert_proven()


def test_a_reversal_names_the_source_and_leaves_the_others(acme, priced):
    send(*of_each_source(quantity=10))
    done = reversal.reverse_event(account_id=acme.pk, event_id="e1", source="/gateway", now=NOW)
    assert (done.source, done.credits, available_in(acme)) == ("/gateway", 10, 980)
    with pytest.raises(reversal.EventNotFound):
        reversal.reverse_event(account_id=acme.pk, event_id="e1", source="/nobody", now=NOW)
    reversal.reverse_event(account_id=acme.pk, event_id="e1", now=NOW)
    rows = [(row.event.source, row.reversed_at) for row in find_events(account_id=acme.pk, event_id="e1")]
    assert rows == [("", NOW), ("/gateway", NOW), (SOURCES[2], None)]
    assert_proven()


def test_a_unique_value_remembers_whose_event_was_charged(acme):
    publish(rate(make_meter("seats", kind="unique", unique_property="user", now=START), "5"))
    send(event(id="e1", meter="seats", properties={"user": "u"}, source="/b"))
    send(event(id="e1", meter="seats", properties={"user": "u"}, source="/a"))
    assert UniqueValue.objects.values_list("event_id", "source", "events").get() == ("e1", "/b", 2)
    for source in ("/b", "/a"):
        reversal.reverse_event(account_id=acme.pk, event_id="e1", source=source, now=NOW)
    assert (available_in(acme), EventReversal.objects.count(), UniqueValue.objects.count()) == (1000, 2, 0)


def test_readings_of_one_moment_are_kept_and_priced_by_source(acme):
    storage = make_meter("storage", kind="gauge", unit="GiB-hour", gauge_unit_seconds=3600, now=START)
    publish(rate(storage, "1", match={"kind": "cold"}), rate(storage, "3", match={"kind": "hot"}))
    for source, kind in (("/b", "hot"), ("/a", "cold")):
        send(event(10, id="r", source=source, meter="storage", at=NOW - 2 * HOUR, properties={"kind": kind}))
    assert GaugeReading.objects.count() == 2
    gauges.accrue_due(now=NOW + HOUR / 2, limit=9)
    assert available_in(acme) == 1000 - 2 * 10 * 3  # The last by id and source holds: /b, which is hot.
    reversal.reverse_event(account_id=acme.pk, event_id="r", source="/b", now=NOW)
    assert GaugeReading.objects.get().source == "/a"


def test_a_rejected_event_keeps_its_source_and_a_cloud_event_without_one_is_rejected(acme, priced):
    cloud = of_each_source(meter="images")[2]
    send(cloud, {**cloud, "source": None}, event(id="e2", source="has blanks"))
    rows = RejectedEvent.objects.order_by("pk").values_list("source", "code", "door")
    assert list(rows) == [
        (SOURCES[2], "unknown_meter", "api"), ("", "missing_field", "api"), ("", "invalid_field", "api"),
    ]  # fmt: skip
    assert not UsageEvent.objects.exists()


def test_a_list_goes_on_within_events_of_one_id_and_moment(acme, priced):
    send(*of_each_source(quantity=1))
    seen, before = [], None
    while rows := list_events(account_id=acme.pk, now=NOW, limit=1, before=before):
        last = rows[0].event
        seen.append(last.source)
        before = (last.received_at, last.event_id, last.source)
    assert seen == sorted(SOURCES, reverse=True)
