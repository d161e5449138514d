"""Rows that staff see by name wherever another row mentions them, and never by their key in the database."""

import re

from django.test import Client

from billing.accounts.models import StaffAct
from billing.catalog.models import RateCard, RateCardVersion
from billing.metering.models import DailyUsage
from tests.admin.conftest import Office, post, text_of
from tests.factories import make_plan

RAW_KEY = re.compile(r"#\d{6,}")


def test_pages_name_the_rows_that_others_mention(staff: Client, office: Office) -> None:
    version = make_plan()
    card = RateCard.objects.create(key="gold", name="Gold", created_at=office.now)
    RateCardVersion.objects.create(rate_card=card, number=1, created_at=office.now)
    member = office.account.members.get()
    DailyUsage.objects.create(
        account=office.account, meter=office.meter, member=member, day=office.now.date(), events=1, quantity=1,
        credits=1, cost=0,
    )  # fmt: skip
    pages = {
        f"plan/{version.plan_id}/change": "Team, version 1",
        f"ratecard/{card.pk}/change": "Gold, version 1",
        f"user/{office.alice.pk}/change": "alice@example.com in Northwind (owner)",
        f"account/{office.account.pk}/change": "alice@example.com in Northwind (owner)",
        "dailyusage": "alice@example.com in Northwind (owner)",
    }
    seen = {page: text_of(staff, f"/admin/billing/{page}/") for page in pages}
    assert [page for page, text in seen.items() if pages[page] not in text] == []
    assert [(page, RAW_KEY.findall(text)) for page, text in seen.items() if RAW_KEY.search(text)] == []


def test_the_audit_log_names_the_rows_that_others_mention(staff: Client, office: Office) -> None:
    card = RateCard.objects.create(key="gold", name="Gold", created_at=office.now)
    post(staff, f"/admin/billing/ratecard/{card.pk}/draft/")
    version = make_plan(published=False)
    post(staff, f"/admin/billing/plan/{version.plan_id}/draft/")
    post(staff, f"/admin/billing/planversion/{version.pk}/publish/")
    labels = set(StaffAct.objects.exclude(act="refused").values_list("label", flat=True))
    assert {"Gold, version 1", "Team, version 1"} <= labels
    assert [label for label in labels if RAW_KEY.search(label)] == []
