"""Staff pages of usage: rejected events, daily totals, single events, imports."""

import json
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts.models import User
from billing.admin.metering import usage_events
from billing.catalog import rate_cards
from billing.catalog.models import Rate, RateCard
from billing.metering.models import DailyUsage, ImportRun, RejectedEvent, UsageEvent
from tests.admin.conftest import Office, post, text_of

EVENTS = "/admin/billing/dailyusage/events/"


def _reject(office: Office, **body: object) -> RejectedEvent:
    return RejectedEvent.objects.create(
        account=office.account, event_id="evt-1", body=json.dumps({"account": "northwind", "id": "evt-1", **body}),
        code="unknown_meter", detail="No such meter.", received_at=office.now,
    )  # fmt: skip


def _event(office: Office, event_id: str, received_at: datetime, **fields: object) -> UsageEvent:
    given = {
        "meter": office.meter, "pool": office.pool, "quantity": 2, "counted": 2, "occurred_at": received_at,
        "credits": Decimal("1.5"), "unit_cost": 0, "posting": office.spend, "period_starts_at": received_at,
        "fingerprint": b"x" * 16, **fields,
    }  # fmt: skip
    return UsageEvent.objects.create(account=office.account, event_id=event_id, received_at=received_at, **given)


def test_a_mended_event_is_replayed(staff: Client, office: Office) -> None:
    row = _reject(office, meter="images", quantity=4)
    card = RateCard.objects.create(key="standard", name="Standard", is_default=True, created_at=office.now)
    version = rate_cards.draft_version(rate_card_id=card.pk, now=office.now)
    Rate.objects.create(version=version, meter=office.meter, price=Decimal("2.5"))
    rate_cards.publish(version_id=version.pk, effective_at=office.now, now=office.now)
    page = post(staff, "/admin/billing/rejectedevent/", action="replay", _selected_action=row.pk)
    row.refresh_from_db()
    office.pool.refresh_from_db()
    assert "1 tried: 1 accepted" in page
    assert row.state == RejectedEvent.State.REPLAYED
    assert office.pool.balance == 890


def test_an_event_that_is_still_wrong_stays_open(staff: Client, office: Office) -> None:
    row = _reject(office, meter="videos")
    page = post(staff, "/admin/billing/rejectedevent/", action="replay", _selected_action=row.pk)
    assert "1 rejected again" in page
    row.refresh_from_db()
    assert row.state == RejectedEvent.State.OPEN


def test_an_event_is_given_up(staff: Client, office: Office) -> None:
    row = _reject(office, meter="videos")
    assert "1 dismissed" in post(staff, "/admin/billing/rejectedevent/", action="dismiss", _selected_action=row.pk)
    row.refresh_from_db()
    assert row.state == RejectedEvent.State.DISMISSED


def test_a_rejected_event_is_found_and_not_edited(staff: Client, office: Office) -> None:
    row = _reject(office, meter="<script>alert(1)</script>")
    assert "1 rejected event" in text_of(staff, "/admin/billing/rejectedevent/?state__exact=open&code=unknown_meter")
    assert "<script>alert(1)" not in text_of(staff, f"/admin/billing/rejectedevent/{row.pk}/change/")
    post(staff, f"/admin/billing/rejectedevent/{row.pk}/change/", code="other", body="{}")
    assert RejectedEvent.objects.get().code == "unknown_meter"


def test_staff_who_may_only_look_can_do_nothing(client: Client, office: Office) -> None:
    row = _reject(office, meter="videos")
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    client.force_login(office.alice)
    for action in ("replay", "dismiss"):
        sent = {"action": action, "_selected_action": row.pk}
        assert client.post("/admin/billing/rejectedevent/", sent).status_code == 403, action
        row.refresh_from_db()
        assert (row.state, row.attempts) == (RejectedEvent.State.OPEN, 0), action


def test_daily_totals_lead_to_their_events(staff: Client, office: Office) -> None:
    row = DailyUsage.objects.create(
        account=office.account, meter=office.meter, day=office.now.date(), events=3, quantity=501, credits=5, cost=0
    )
    page = text_of(staff, f"/admin/billing/dailyusage/{row.pk}/change/")
    assert f"{EVENTS}?account={office.account.pk}&amp;meter={office.meter.pk}" in page


def test_an_import_is_shown(staff: Client, office: Office) -> None:
    ImportRun.objects.create(digest=b"x" * 32, name="trace.csv", rows_done=8819, started_at=office.now)
    assert "trace.csv" in text_of(staff, "/admin/billing/importrun/")


def test_events_ask_for_an_account_first(staff: Client, office: Office) -> None:
    assert "Choose an account" in text_of(staff, EVENTS)


def test_events_are_listed_newest_first(staff: Client, office: Office) -> None:
    _event(office, "evt-old", office.now - timedelta(days=200))
    _event(office, "evt-new", office.now, late=True, properties={"model": "<b>gpt</b>"})
    page = text_of(staff, f"{EVENTS}?account={office.account.pk}")
    assert page.index("evt-new") < page.index("evt-old")
    assert "(late)" in page
    assert "<b>gpt" not in page
    assert f"/admin/billing/posting/{office.spend.pk}/change/" in page


def test_events_are_filtered(staff: Client, office: Office) -> None:
    _event(office, "evt-old", office.now - timedelta(days=2))
    _event(office, "evt-new", office.now)
    base, day = f"{EVENTS}?account={office.account.pk}", (office.now - timedelta(days=2)).date()
    for query, shown, hidden in (
        (f"since={day}&until={day}", "evt-old", "evt-new"),
        (f"since={day + timedelta(days=1)}", "evt-new", "evt-old"),
        ("event_id=evt-old", "evt-old", "evt-new"),
        (f"meter={office.meter.pk}&until={day}", "evt-old", "evt-new"),
    ):
        table = text_of(staff, f"{base}&{query}").split("<tbody>")[1]
        assert shown in table
        assert hidden not in table
    assert "No event of this account" in text_of(staff, f"{base}&event_id=nope")


def test_a_faulty_filter_shows_no_event(staff: Client, office: Office) -> None:
    for query in ("account=99999", "account=x", "account=1&since=never"):
        assert "Choose an account" in text_of(staff, f"{EVENTS}?{query}"), query


def test_pages_of_events_have_no_gap_and_no_repeat(
    staff: Client, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_events, "PAGE", 2)
    for number in range(5):
        # All at the same moment, so that only the id tells them apart.
        _event(office, f"evt-{number}", office.now)
    seen: list[str] = []
    address = f"{EVENTS}?account={office.account.pk}"
    for _ in range(3):
        context = staff.get(address).context
        seen += [row.event.event_id for row in context["rows"]]
        address = EVENTS + context["older"]
    assert seen == ["evt-4", "evt-3", "evt-2", "evt-1", "evt-0"]
    assert context["older"] == ""


def test_a_position_that_is_none_is_ignored(staff: Client, office: Office) -> None:
    _event(office, "evt-1", office.now)
    for before in ("x", "2026-13-01T00:00", "2026-01-01T00:00", ""):
        address = f"{EVENTS}?account={office.account.pk}&before={before}&before_id=x"
        assert "evt-1" in text_of(staff, address), before


def test_events_need_few_queries(
    staff: Client, office: Office, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(10):
        _event(office, f"evt-{number}", office.now)
    with django_assert_max_num_queries(14):
        text_of(staff, f"{EVENTS}?account={office.account.pk}")


def test_events_are_for_those_who_may_see_them(client: Client, office: Office) -> None:
    assert "/admin/login/" in client.get(EVENTS)["Location"]
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    client.force_login(office.alice)
    assert client.get(EVENTS).status_code == 403
