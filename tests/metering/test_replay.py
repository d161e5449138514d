import json
from decimal import Decimal

import pytest
from django.core.management import call_command

from billing.metering import replay
from billing.metering.models import DailyUsage, RejectedEvent, UsageEvent
from tests.factories import make_account, make_key, make_meter
from tests.metering.makers import DAY, HOUR, NOW, all_rows, event, in_threads, publish, rate, send, send_one

LATER = NOW + 3 * DAY


def retry(**options):
    return replay.replay(**{"limit": 1000, "now": LATER, **options})


def test_rejected_events_count_once_the_cause_is_mended(acme, priced):
    send(event(3, id="a", meter="images"), event(4, id="b", meter="images"))
    assert RejectedEvent.objects.filter(code="unknown_meter", state="open").count() == 2
    publish(rate(priced), rate(make_meter("images"), "2"), effective_at=NOW + HOUR, now=NOW + HOUR)
    done = retry()
    assert (done.tried, done.accepted, done.rejected) == (2, 2, 0)
    assert sorted(UsageEvent.objects.values_list("event_id", "credits", "received_at")) == [
        ("a", 6, LATER), ("b", 8, LATER),
    ]  # fmt: skip
    assert set(RejectedEvent.objects.values_list("state", "closed_at", "attempts")) == {("replayed", LATER, 1)}
    assert retry().tried == 0


def test_what_still_cannot_be_taken_stays_open_with_one_row_and_its_new_reason(acme, priced):
    send(event(id="a", meter="images"))
    make_meter("images")
    done = retry()
    assert (done.tried, done.rejected) == (1, 1)
    row = RejectedEvent.objects.get()
    assert (row.state, row.code, row.attempts, row.closed_at) == ("open", "no_rate", 1, None)
    assert row.account == acme
    retry()
    assert RejectedEvent.objects.get().attempts == 2


def test_an_event_that_states_no_time_happened_when_it_was_received(acme, priced):
    send(event(id="a", account="later-org", at=None))
    make_account("later-org", now=NOW - DAY)
    assert retry().accepted == 1
    assert UsageEvent.objects.get().occurred_at == NOW
    assert DailyUsage.objects.get().day == NOW.date()


def test_an_events_age_is_measured_from_when_it_was_received(acme, priced):
    send(event(id="a", meter="images", at=NOW - 30 * DAY))
    publish(rate(priced), rate(make_meter("images")), effective_at=NOW, now=NOW)
    assert retry(now=NOW + 30 * DAY).accepted == 1


def test_an_event_of_a_customers_key_still_belongs_to_its_account(acme, priced):
    key, _ = make_key(acme)
    raw = event(id="a", meter="images")
    del raw["account"]
    bound = {"account_id": acme.pk, "account_name": "acme", "api_key_id": key.pk}
    send(raw, **bound)
    publish(rate(priced), rate(make_meter("images")), effective_at=NOW, now=NOW)
    assert retry().accepted == 1
    stranger = event(id="b", account="acme", meter="images")
    make_account("evil")
    send({**stranger, "account": "evil"}, **bound)
    assert retry().rejected == 1
    assert UsageEvent.objects.filter(account=acme).count() == 1


def test_an_event_that_was_sent_again_meanwhile_is_a_duplicate_and_done(acme, priced):
    raw = event(Decimal("1.5"), id="a", meter="images", properties={"size": Decimal("0.50"), "name": 'é\t"\\'})
    send(raw)
    publish(rate(priced), rate(make_meter("images")), effective_at=NOW, now=NOW)
    assert send_one(raw).status == "accepted"
    done = retry()
    assert (done.duplicates, done.accepted) == (1, 0)
    assert RejectedEvent.objects.get().state == "replayed"


def test_an_event_whose_id_was_taken_meanwhile_stays_open_as_a_conflict(acme, priced):
    send(event(id="a", meter="images"))
    send(event(id="a"))
    make_meter("images")
    publish(rate(priced), rate(priced.__class__.objects.get(key="images")), effective_at=NOW, now=NOW)
    assert retry().conflicts == 1
    assert RejectedEvent.objects.get().code == "id_conflict"
    assert UsageEvent.objects.count() == 1


def test_only_the_named_ones_are_tried(acme, priced):
    send(event(id="a", meter="images"), event(id="b", account="nobody"), event(id="c", quantity="x"))
    assert retry(code="unknown_account").tried == 1
    assert retry(limit=2).tried == 2
    ids = list(RejectedEvent.objects.filter(event_id="a").values_list("pk", flat=True))
    assert retry(ids=ids).tried == 1
    assert retry(account_id=acme.pk).tried == 1


def test_dismissed_events_are_not_tried_any_more(acme, priced):
    send(event(id="a", meter="images"), event(id="b", meter="images"))
    row = RejectedEvent.objects.get(event_id="a")
    assert replay.dismiss(ids=[row.pk], now=LATER) == 1
    assert replay.dismiss(ids=[row.pk], now=LATER) == 0
    row.refresh_from_db()
    assert (row.state, row.closed_at) == ("dismissed", LATER)
    assert retry().tried == 1


def test_a_body_that_was_too_long_to_keep_says_so(acme, priced):
    send({**event(id="a"), "properties": {"x" * 60: ["y" * 70_000]}})
    assert RejectedEvent.objects.get().body == ""
    assert retry().rejected == 1
    assert RejectedEvent.objects.get().code == "body_not_kept"


@pytest.mark.parametrize(
    "raw",
    [7, None, "text", [1, Decimal("0.10")], {"id": "\x00"}, {"id": "\ud800"}, {"id": "a", "properties": {"n": "\x00"}},
     {"id": "a", "account": "acme", "meter": "tokens", "properties": {"\ud800": 1}}],
)  # fmt: skip
def test_whatever_came_is_kept_as_it_came(acme, priced, raw):
    assert send_one(raw).status == "rejected"
    assert json.loads(RejectedEvent.objects.get().body, parse_float=Decimal) == raw
    assert retry().rejected == 1


def test_progress_is_told_after_each_batch(acme, priced, monkeypatch):
    monkeypatch.setattr(replay, "BATCH", 2)
    send(*(event(id=str(n), meter="images") for n in range(5)))
    heard = []
    retry(progress=lambda so_far: heard.append(so_far.tried))
    assert heard == [2, 4, 5]


@pytest.mark.django_db(transaction=True)
def test_two_replays_at_once_count_each_event_once(acme, priced):
    send(*(event(id=str(n), meter="images") for n in range(50)))
    publish(rate(priced), rate(make_meter("images")), effective_at=NOW, now=NOW)
    results = in_threads(4, lambda _: retry())
    assert sum(each.accepted for each in results) == 50
    assert UsageEvent.objects.count() == 50
    assert set(RejectedEvent.objects.values_list("attempts", "state")) == {(1, "replayed")}


def test_the_command_replays_and_tells_by_its_exit_code_what_is_left(acme, priced, capsys):
    call_command("replay_rejected")
    assert "0 tried" in capsys.readouterr().out
    send(event(id="a", meter="images"), event(id="b", account="nobody"))
    before = all_rows()
    call_command("replay_rejected", "--dry-run")
    assert capsys.readouterr().out == "unknown_account: 1\nunknown_meter: 1\nA dry run: nothing was tried.\n"
    assert all_rows() == before
    publish(rate(priced), rate(make_meter("images")), effective_at=NOW, now=NOW)
    call_command("replay_rejected", "--account", "acme", "--limit", "5")
    assert capsys.readouterr().out.startswith("1 tried: 1 accepted")
    with pytest.raises(SystemExit) as ended:
        call_command("replay_rejected", "--code", "unknown_account")
    assert ended.value.code == 3
    assert "1 still rejected" in capsys.readouterr().out


def test_the_command_names_an_account_that_does_not_exist(db):
    with pytest.raises(Exception, match="no account 'nobody'"):
        call_command("replay_rejected", "--account", "nobody")
