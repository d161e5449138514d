"""Staff pages of the outbox."""

import pytest
from django.test import Client

from billing.notifications.models import Notification
from tests.admin.conftest import Office, post, text_of


def _row(office: Office, state: str) -> Notification:
    return Notification.objects.create(
        account=office.account, kind="credits_75", dedupe_key=state, created_at=office.now, due_at=office.now,
        state=state, attempts=8, last_error="SMTPServerDisconnected: closed",
    )  # fmt: skip


def test_what_was_given_up_is_tried_again(staff: Client, office: Office) -> None:
    row = _row(office, "failed")
    assert "SMTPServerDisconnected" in text_of(staff, "/admin/billing/notification/?state__exact=failed")
    page = post(staff, "/admin/billing/notification/", action="retry", _selected_action=row.pk)
    assert "1 will be sent" in page
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("pending", 0)


def test_what_was_sent_is_not_sent_again(staff: Client, office: Office) -> None:
    row = _row(office, "sent")
    assert "0 will be sent" in post(staff, "/admin/billing/notification/", action="retry", _selected_action=row.pk)
    row.refresh_from_db()
    assert (row.state, row.attempts) == ("sent", 8)


@pytest.mark.parametrize("page", ["change", "delete"])
def test_the_outbox_is_not_edited(staff: Client, office: Office, page: str) -> None:
    row = _row(office, "failed")
    staff.post(f"/admin/billing/notification/{row.pk}/{page}/", {"email": "evil@example.com", "post": "yes"})
    row.refresh_from_db()
    assert row.email == ""
