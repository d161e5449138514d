from datetime import timedelta

from django.utils import timezone

from tests.api.asking import not_refused
from tests.factories import give_credits, make_meter, make_rate_card

PATH = "/accounts/acme/usage"
DAYS = {"from": "2026-01-01", "to": "2026-02-01"}


def test_usage_is_totalled_by_what_is_asked(alice, platform, acme):
    give_credits(acme, "100")
    make_rate_card({make_meter("tokens"): "0.002", make_meter("seats"): "5"})
    event = {"account": "acme", "meter": "tokens", "quantity": 1000}
    seat = {**event, "id": "3", "meter": "seats", "quantity": 1}
    platform.post("/events", [{**event, "id": "1"}, {**event, "id": "2"}, seat])
    now = timezone.now()
    today = now.date().isoformat()
    days = {"from": today, "to": (now + timedelta(days=1)).date().isoformat()}
    assert alice.get(PATH, **days).json()["items"] == [
        {"day": today, "meter": "seats", "member": None, "quantity": "1", "credits": "5", "events": 1},
        {"day": today, "meter": "tokens", "member": None, "quantity": "2000", "credits": "4", "events": 2},
    ]
    assert alice.get(PATH, **days, group_by="").json()["items"] == [
        {"day": None, "meter": None, "member": None, "quantity": None, "credits": "9", "events": 3}
    ]
    assert alice.get(PATH, **DAYS).json() == {"items": []}


def test_a_malformed_query_is_refused_by_parameter(alice):
    rows = [
        ({"from": "2026-01-01"}, "to"),
        ({**DAYS, "to": "2025-12-31"}, "to"),
        ({**DAYS, "to": "2030-01-01"}, "to"),
        ({**DAYS, "from": "01.01.2026"}, "from"),
        ({**DAYS, "from": "2026-02-30"}, "from"),
        ({**DAYS, "from": "9999-01-01"}, "from"),
        ({**DAYS, "from": "2026-01-01T00:00:00Z"}, "from"),
        ({**DAYS, "group_by": "hour"}, "group_by"),
        ({**DAYS, "group_by": "day,,meter"}, "group_by"),
        ({**DAYS, "limit": "5"}, "limit"),
    ]
    answers = [((query, field), alice.get(PATH, **query), field) for query, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []
