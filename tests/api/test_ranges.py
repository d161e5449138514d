"""Every range of days that somebody may ask for, in the API, the portal and the admin, is bounded by one function."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client

from billing.accounts.models import User
from billing.catalog.periods import EARLIEST, LATEST, RangeRefused, check_range
from tests.api.operations import judge, served

ENDS = {"from": "to", "created_from": "created_to"}
FAR = [("0001-01-01", "9999-12-31"), ("1969-12-31", "2025-01-01"), ("2025-02-01", "2025-01-01")]
# Pages that read the whole range at once: the longest they take, in days.
SUMS = {"usage": 366, "statement": 3_660}
LISTS = ("ledger", "invoices")


def test_a_range_has_an_order_a_length_and_lies_in_time() -> None:
    first = date(2025, 1, 1)
    for good in ((None, None), (first, None), (None, LATEST), (EARLIEST, LATEST), (first, first)):
        check_range(*good)
    check_range(first, first + timedelta(days=29), most_days=30)
    faults = {}
    for days in ((date.min, None), (None, date.max), (first, date(2024, 1, 1)), (first, first + timedelta(days=30))):
        with pytest.raises(RangeRefused) as refusal:
            check_range(*days, most_days=30)
        faults[days] = (refusal.value.end, refusal.value.reason)
    assert [*faults.values()] == [("first", "far"), ("last", "far"), ("last", "order"), ("first", "long")]


def test_every_range_of_the_api_is_bounded(hers: dict[str, str], platform: Any) -> None:
    asked, taken = 0, []
    for path, methods in served()["paths"].items():
        named = {each["name"]: each["schema"] for each in methods.get("get", {}).get("parameters", [])}
        for first in named.keys() & ENDS.keys():
            asked += 1
            time = "T00:00:00Z" if named[first].get("format") == "date-time" else ""
            for since, until in FAR:
                query = {first: since + time, ENDS[first]: until + time}
                answer = platform.get(path.removeprefix("/api/v1").format(**hers), **query)
                if judge(answer) != (400, "invalid_request"):
                    taken.append((path, query, judge(answer)))
    assert asked >= 6
    assert taken == []


def test_every_range_of_the_portal_is_bounded(acme: Any, client: Client) -> None:
    client.force_login(acme.members.get(role="owner").user)
    for page in (*SUMS, *LISTS):
        for since, until in FAR:
            query = f"?since={since}&until={until}"
            assert 'aria-invalid="true"' in client.get(f"/a/acme/{page}{query}").content.decode(), (page, query)
            assert client.get(f"/a/acme/{page}.csv{query}").status_code == 400, (page, query)
    for page, days in SUMS.items():
        ends = [(date(2025, 1, 1) + timedelta(days=length)).isoformat() for length in (days - 1, days)]
        codes = [client.get(f"/a/acme/{page}.csv?since=2025-01-01&until={until}").status_code for until in ends]
        assert codes == [200, 400], page


def test_every_range_of_the_admin_is_bounded(acme: Any, client: Client) -> None:
    client.force_login(User.objects.create_superuser("stella@example.com"))
    long_ago = "since=0001-01&until=9999-12"
    page = client.get(f"/admin/finance/?{long_ago}")
    assert "at most 5 years" in page.content.decode()
    assert len(page.context["report"].months.starts) == 12
    codes = {
        asked: client.get(f"/admin/finance/tax.csv?{asked}").status_code
        for asked in (long_ago, "since=2019-12&until=2024-12", "since=2020-01&until=2024-12", "until=0001-01")
    }
    assert [*codes.values()] == [400, 400, 200, 400], codes
    for since, until in FAR:
        query = f"?account={acme.pk}&since={since}&until={until}"
        assert "errorlist" in client.get(f"/admin/billing/dailyusage/events/{query}").content.decode(), query
    for year in ("0", "99999", "x", "9999"):
        assert client.get(f"/admin/billing/staffact/?acted_at__year={year}").status_code in (200, 302), year
