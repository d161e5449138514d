"""Large batches go in by COPY, small ones by INSERT: whatever texts hold, the rows are the same."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.metering import store
from billing.metering.models import UsageEvent
from tests.factories import make_account, make_meter
from tests.metering.makers import NOW, START, event, publish, rate, send

D = Decimal

AWKWARD = [
    "a\tb", "a\nb", "a\rb", "a\\b", "\\", "\\\\", "\\N", "\\.", "\\x41", "a\"b", "a'b", "$$", "%s", "{}", '{"x": 1}',
    "NULL", "null", ",", "", " ", "é", "日本", "😀", "\u2028", "\x01", "\x7f", "\ufeff", "a" * 500,
]  # fmt: skip


def stored(account):
    rows = UsageEvent.objects.filter(account=account).order_by("event_id", "source")
    return list(rows.values_list(
        "event_id", "source", "quantity", "counted", "properties", "occurred_at", "received_at", "late", "credits",
        "unit_cost", "rate_id", "period_starts_at", "burn_offset", "member_id",
    ))  # fmt: skip


@pytest.fixture
def both_ways(tokens, monkeypatch):
    """Sends the same events by COPY and by INSERT, to two accounts, and returns the rows."""
    meter = make_meter("dear", unit_cost=D("0.000000000001"), now=START)
    publish(rate(tokens, "0.000001"), rate(meter, "2.5", match={"a": "x"}), rate(meter, "1"))

    def run(*events):
        rows = []
        for copy_from in (1, 1_000_000):
            monkeypatch.setattr(store, "COPY_FROM", copy_from)
            account = make_account(now=START)
            done = send(*({**each, "account": account.external_id} for each in events))
            assert done.accepted == len(events), done.results
            rows.append(stored(account))
        return rows

    return run


def test_awkward_texts_in_properties_are_stored_as_they_are(both_ways):
    events = [event(id=f"e{n}", properties={f"k{n}": text, "z": n}) for n, text in enumerate(AWKWARD)]
    events += [event(id=f"n{n}", properties={text: "v"}) for n, text in enumerate(AWKWARD) if 0 < len(text) <= 60]
    copied, inserted = both_ways(*events)
    assert copied == inserted
    assert {row[0]: row[4] for row in copied} == {each["id"]: each["properties"] for each in events}


def test_awkward_texts_in_ids_are_stored_as_they_are(both_ways):
    names = [text for text in AWKWARD if text and text.isprintable() and len(text) <= 200] + ["x" * 200]
    sources = [name for name in names if " " not in name]
    events = [event(id=name) for name in names] + [event(id="e", source=source) for source in sources]
    copied, inserted = both_ways(*events)
    assert copied == inserted
    assert {row[:2] for row in copied} == {(name, "") for name in names} | {("e", source) for source in sources}


def test_every_kind_of_value_is_stored_alike(both_ways):
    values = {"i": 10**29, "d": D("0.1"), "e": D("1E+5"), "f": D("-1.50"), "t": True, "f2": False, "n": None, "a": "x"}
    copied, inserted = both_ways(
        event("999999999999.999999", id="a", properties=values, meter="dear"),
        event(0, id="b", at=NOW - timedelta(days=30, microseconds=1)),
        event("0.000001", id="c", at=NOW - timedelta(hours=2)),
        event(id="d", at=None),
    )
    assert copied == inserted
    assert copied[0][8] == D("2499999999999.999998")
    assert copied[1][7]  # late


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60), min_size=1
    )
)
def test_any_text_comes_back_as_it_was_sent(both_ways, texts):
    copied, inserted = both_ways(*(event(id=f"{n:03}", properties={"t": text}) for n, text in enumerate(texts)))
    assert copied == inserted
    assert [row[4]["t"] for row in copied] == texts


def test_large_batches_are_copied(acme, priced, monkeypatch):
    copied = []
    copy = store._copy_events
    monkeypatch.setattr(store, "_copy_events", lambda rows: (copied.append(len(rows)), copy(rows)))
    send(*(event() for _ in range(store.COPY_FROM - 1)))
    assert copied == []
    send(*(event() for _ in range(store.COPY_FROM)))
    assert copied == [store.COPY_FROM]
    assert UsageEvent.objects.count() == 2 * store.COPY_FROM - 1
