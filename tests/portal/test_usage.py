"""The usage page and its CSV."""

import csv
import io
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing.accounts.ids import encode
from billing.accounts.models import Member
from billing.catalog.models import Meter
from billing.metering import ingest, properties
from billing.metering.models import DailyUsage
from billing.metering.properties import TooManyEvents
from tests.factories import make_account, make_member, make_meter, make_rate_card, make_user
from tests.portal.conftest import MAX_QUERIES, Stage


def _page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def _today(stage: Stage) -> date:
    return timezone.localdate(stage.now, ZoneInfo(stage.account.time_zone))


def _use(stage: Stage, meter: Meter, credits: int, *, days_ago: int = 0, member: Member | None = None) -> None:
    DailyUsage.objects.create(
        account=stage.account, meter=meter, member=member, day=_today(stage) - timedelta(days=days_ago), events=2,
        quantity=credits * 10, credits=credits, cost=0,
    )  # fmt: skip


@pytest.fixture
def used(stage: Stage) -> Stage:
    """Besides the stage's 250.5 credits of images today: audio of bob's yesterday, and 40 days ago."""
    audio = make_meter("audio", now=stage.now, unit="minute")
    bob = make_member(stage.account, make_user("bob"), now=stage.now)
    _use(stage, audio, 50, days_ago=1, member=bob)
    _use(stage, audio, 7, days_ago=40)
    return stage


def test_by_meter_it_shows_quantities_credits_and_shares(alice: Client, used: Stage) -> None:
    page = _page(alice, f"{used.url}/usage")
    assert "300.5 credits, 10.02 a day, for 5 events." in page
    assert '501 <span class="soft small">images</span>' in page
    assert '500 <span class="soft small">minutes</span>' in page
    assert "83%" in page


def test_the_chart_has_its_text(alice: Client, used: Stage) -> None:
    page = _page(alice, f"{used.url}/usage")
    assert "Credits used by day: 300.5 in 30 days, most on" in page
    assert "The same as a table" in page
    assert "<td>Audio 50</td>" in page


def test_by_day_the_newest_is_first(alice: Client, used: Stage) -> None:
    page = _page(alice, f"{used.url}/usage?by=day")
    table = page[page.index("Usage, with its share") :]
    assert table.index(f"{_today(used):%Y-%m-%d}") < table.index(f"{_today(used) - timedelta(days=1):%Y-%m-%d}")


def test_by_member_it_names_people_and_nobody(alice: Client, used: Stage) -> None:
    page = _page(alice, f"{used.url}/usage?by=member")
    assert "Bob" in page
    assert "No member" in page
    assert "Quantity" not in page


def test_people_of_one_name_are_told_apart(alice: Client, used: Stage) -> None:
    namesake = make_user("bobby")
    namesake.name = "Bob"
    namesake.save()
    member = make_member(used.account, namesake, now=used.now)
    _use(used, used.meter, 3, days_ago=2, member=member)
    page = _page(alice, f"{used.url}/usage?by=member")
    assert "Bob bob@example.com" in page
    assert "Bob bobby@example.com" in page


def test_one_meter_can_be_chosen(alice: Client, used: Stage) -> None:
    page = _page(alice, f"{used.url}/usage?by=member&meter=audio")
    assert '500 <span class="soft small">minutes</span>' in page
    assert "No member" not in page


@pytest.mark.parametrize(
    ("query", "credits"),
    [("range=7", "300.5"), ("range=90", "307.5"), ("range=365", "307.5"), ("", "300.5"), ("range=30", "300.5")],
)
def test_ranges_can_be_chosen(alice: Client, used: Stage, query: str, credits: str) -> None:
    assert f"{credits} credits," in _page(alice, f"{used.url}/usage?{query}")


def test_days_can_be_chosen(alice: Client, used: Stage) -> None:
    day = _today(used) - timedelta(days=40)
    assert "7 credits, 7 a day" in _page(alice, f"{used.url}/usage?since={day}&until={day}")
    assert "307.5 credits" in _page(alice, f"{used.url}/usage?since={day}")
    assert "7 credits," in _page(alice, f"{used.url}/usage?until={day}")


@pytest.mark.parametrize("name", ["month", "last-month"])
def test_months_begin_on_the_first(alice: Client, used: Stage, name: str) -> None:
    first = alice.get(f"{used.url}/usage?range={name}").context["first"]
    assert first.day == 1


@pytest.mark.parametrize(
    "query",
    [
        "by=property&property=nope", "meter=nope", "range=8", "since=yesterday", "since=2026-02-01&until=2026-01-01",
        "since=2020-01-01", "since=1900-01-01", "until=0001-01-02", "until=9999-12-31", "by=nonsense",
    ],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_shows_why(alice: Client, used: Stage, query: str) -> None:
    page = _page(alice, f"{used.url}/usage?{query}")
    assert "Nothing to show with this filter" in page
    assert "Download CSV" not in page
    assert alice.get(f"{used.url}/usage.csv?{query}").status_code == 400


def test_without_usage_it_says_what_will_be_here(alice: Client, stage: Stage) -> None:
    fresh = make_account("fresh", now=stage.now)
    make_member(fresh, stage.alice, now=stage.now)
    assert "No usage in this period" in _page(alice, f"/a/{encode('acc', fresh.pk)}/usage")
    assert "No properties yet" in _page(alice, f"/a/{encode('acc', fresh.pk)}/usage?by=property")


def test_another_accounts_usage_is_its_own(alice: Client, used: Stage) -> None:
    other = make_account("other", now=used.now)
    DailyUsage.objects.create(
        account=other, meter=used.meter, day=_today(used), events=1, quantity=1, credits=9999, cost=0
    )
    assert "9,999" not in _page(alice, f"{used.url}/usage")


def _send(stage: Stage, quantity: int, **fields: object) -> None:
    event = {"id": f"e{quantity}", "account": "northwind", "meter": "images", "quantity": quantity, **fields}
    result = ingest.take_events(events=[event], now=timezone.now())
    assert result.results[0].status == "accepted"


@pytest.fixture
def events(stage: Stage) -> Stage:
    """Images cost a credit each; 30 at night, 12 by day, 5 at no time."""
    make_rate_card({stage.meter: "1"})
    _send(stage, 30, properties={"time": "night <b>"})
    _send(stage, 12, properties={"time": "=day"})
    _send(stage, 5)
    return stage


def test_by_property_it_shows_values(alice: Client, events: Stage) -> None:
    page = _page(alice, f"{events.url}/usage?by=property&meter=images")
    assert "By the property time" in page
    assert "47 credits" in page
    assert "night &lt;b&gt;" in page
    assert "without this property" in page
    assert "64%" in page


def test_of_a_long_range_properties_show_the_end_and_say_so(alice: Client, events: Stage) -> None:
    page = _page(alice, f"{events.url}/usage?by=property&property=time&range=365")
    assert "at most 31 days are shown" in page
    assert "in 31 days, most on" in page


def test_too_many_events_are_said_to_be_too_many(alice: Client, events: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise TooManyEvents

    monkeypatch.setattr(properties, "list_by_property", refuse)
    page = _page(alice, f"{events.url}/usage?by=property")
    assert "Please choose fewer days" in page
    assert alice.get(f"{events.url}/usage.csv?by=property&property=time").status_code == 503
    monkeypatch.setattr(properties, "list_names", refuse)
    assert "Too many events" in _page(alice, f"{events.url}/usage?by=property")


def _csv(client: Client, address: str) -> list[dict[str, str]]:
    response = client.get(address)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))


def test_the_csv_has_a_line_per_day_and_group(alice: Client, used: Stage) -> None:
    assert _csv(alice, f"{used.url}/usage.csv?by=meter") == [
        {"day": f"{_today(used) - timedelta(days=1)}", "meter": "Audio", "quantity": "500", "unit": "minute",
         "events": "2", "credits": "50"},
        {"day": f"{_today(used)}", "meter": "Images", "quantity": "501", "unit": "image", "events": "3",
         "credits": "250.5"},
    ]  # fmt: skip
    assert [row["member"] for row in _csv(alice, f"{used.url}/usage.csv?by=member")] == ["Bob", "No member"]


def test_the_csv_is_a_download_that_runs_no_formula(alice: Client, events: Stage) -> None:
    response = alice.get(f"{events.url}/usage.csv?by=property")
    assert response["Content-Disposition"].startswith('attachment; filename="usage-by-property-')
    values = {row["property"] for row in _csv(alice, f"{events.url}/usage.csv?by=property")}
    assert values == {"'=day", "night <b>", "without this property"}


@pytest.mark.parametrize("by", ["day", "meter", "member", "property"])
def test_it_needs_few_queries(
    alice: Client, events: Stage, django_assert_max_num_queries: DjangoAssertNumQueries, by: str
) -> None:
    with django_assert_max_num_queries(MAX_QUERIES):
        _page(alice, f"{events.url}/usage?by={by}")
