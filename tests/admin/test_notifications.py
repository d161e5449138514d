"""Staff pages of the outbox."""

from django.test import Client

from billing.notifications.models import Notification, NotificationDelivery
from tests.admin.conftest import Office, post, text_of
from tests.undoing import undone

OUTBOX = "/admin/billing/notification/"
MAILS = "/admin/billing/notificationdelivery/"


def _row(office: Office, state: str) -> Notification:
    return Notification.objects.create(
        account=office.account, kind="threshold", dedupe_key=state, created_at=office.now, state=state
    )


def _mail(office: Office, state: str) -> NotificationDelivery:
    return NotificationDelivery.objects.create(
        notification=_row(office, "expanded"), address="pay@northwind.example", created_at=office.now,
        due_at=office.now, state=state, sent_at=office.now if state == "sent" else None, attempts=8,
        last_error="SMTPServerDisconnected: closed",
    )  # fmt: skip


def test_what_was_given_up_is_tried_again(staff: Client, office: Office) -> None:
    mail = _mail(office, "failed")
    assert "SMTPServerDisconnected" in text_of(staff, f"{MAILS}?state__exact=failed")
    assert "1 will be sent" in post(staff, MAILS, action="retry", _selected_action=mail.pk)
    mail.refresh_from_db()
    assert (mail.state, mail.attempts) == ("pending", 0)


def test_what_was_sent_is_not_sent_again(staff: Client, office: Office) -> None:
    for state in ("sent", "dropped"):
        with undone():
            mail = _mail(office, state)
            assert "0 will be sent" in post(staff, MAILS, action="retry", _selected_action=mail.pk), state
            mail.refresh_from_db()
            assert (mail.state, mail.attempts) == (state, 8)


def test_what_nobody_could_be_told_is_looked_at_again(staff: Client, office: Office) -> None:
    row = _row(office, "undeliverable")
    assert "northwind" in text_of(staff, f"{OUTBOX}?state__exact=undeliverable").lower()
    assert "1 is looked at again" in post(staff, OUTBOX, action="look_again", _selected_action=row.pk)
    row.refresh_from_db()
    assert row.state == "pending"


def test_what_reaches_nobody_is_dismissed(staff: Client, office: Office) -> None:
    lost, mail = _row(office, "undeliverable"), _mail(office, "failed")
    for table, row in (("notification", lost), ("notificationdelivery", mail)):
        assert "1 is dismissed." in post(
            staff, f"/admin/billing/{table}/", action="dismiss", _selected_action=row.pk
        ), table
        row.refresh_from_db()
    assert (lost.state, mail.state) == ("expanded", "dropped")


def test_a_notification_shows_to_whom_it_went(staff: Client, office: Office) -> None:
    mail = _mail(office, "failed")
    page = text_of(staff, f"{OUTBOX}{mail.notification_id}/change/")
    assert "pay@northwind.example" in page
    assert "SMTPServerDisconnected" in page


def test_the_first_page_counts_mails_given_up(staff: Client, office: Office) -> None:
    _mail(office, "failed")
    assert "notificationdelivery/?state__exact=failed" in text_of(staff, "/admin/")


def test_the_outbox_is_not_edited(staff: Client, office: Office) -> None:
    mail = _mail(office, "failed")
    for page in ("change", "delete"):
        staff.post(f"{OUTBOX}{mail.notification_id}/{page}/", {"email": "evil@example.com", "post": "yes"})
        staff.post(f"{MAILS}{mail.pk}/{page}/", {"address": "evil@example.com", "post": "yes"})
        kept = NotificationDelivery.objects.get(pk=mail.pk)
        assert (kept.address, kept.notification.email) == ("pay@northwind.example", ""), page
