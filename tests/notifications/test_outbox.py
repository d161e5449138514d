import smtplib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.db import connection

from billing.accounts import invitations
from billing.accounts.models import Invitation
from billing.notifications import invitations as notices
from billing.notifications import outbox
from billing.notifications.models import Notification
from tests.factories import NOW, make_account, make_user

pytestmark = pytest.mark.django_db
THRESHOLD = {
    "pool": "main",
    "threshold": 75,
    "spent": "750.500000",
    "allocation": "1000.000000",
    "cycle_ends_at": "2025-04-01T00:00:00+00:00",
}


def tell(account=None, *, key="once", email="", now=NOW, payload=THRESHOLD):
    account_id = account.pk if account else None
    outbox.write(kind="threshold", dedupe_key=key, account_id=account_id, payload=payload, email=email, now=now)


def deliver(now=NOW, limit=100):
    return outbox.deliver_due(now=now, limit=limit)


@pytest.fixture
def broken_mail(monkeypatch):
    def refuse(message, fail_silently=False):
        raise smtplib.SMTPServerDisconnected("mail server is away")

    monkeypatch.setattr(EmailMultiAlternatives, "send", refuse)


def test_the_same_thing_is_told_once():
    account = make_account()
    tell(account)
    tell(account)
    assert deliver().sent == 1
    tell(account)
    assert deliver().sent == 0
    assert len(mail.outbox) == 1


def test_a_threshold_is_told_to_the_billing_address_in_text_and_html():
    account = make_account("acme")
    tell(account)
    deliver()
    (message,) = mail.outbox
    assert message.to == ["billing@acme.example"]
    assert message.subject == "Acme: 75% of this cycle's credits are used"
    html = message.alternatives[0].content
    for text in (message.body, html):
        assert "750.5" in text
        assert "1,000" in text
        assert "2025-04-01" in text
        assert f"/a/acc_{account.pk}" in text
    assert message.extra_headers["Message-ID"].startswith("<notification-")


def test_the_last_threshold_says_that_all_is_used():
    tell(make_account("acme"), payload={**THRESHOLD, "threshold": 100})
    deliver()
    assert mail.outbox[0].subject == "Acme: all credits of this cycle are used"


def test_an_address_of_its_own_wins():
    tell(make_account(), email="bob@example.com")
    deliver()
    assert mail.outbox[0].to == ["bob@example.com"]


def test_names_cannot_smuggle_headers_or_markup():
    tell(make_account(name="Evil\r\nBcc: all@example.com<script>"))
    deliver()
    (message,) = mail.outbox
    assert "\n" not in message.subject
    assert "<script>" not in message.alternatives[0].content


def test_an_invitation_carries_the_link_that_works():
    account, alice = make_account("acme"), make_user("alice")
    notices.send(account=account, email="bob@example.com", role="admin", invited_by=alice, now=NOW)
    row = Notification.objects.get()
    invitation = Invitation.objects.get()
    token = invitations.token_of(invitation)
    assert token not in str(row.payload)
    deliver()
    (message,) = mail.outbox
    assert message.to == ["bob@example.com"]
    assert message.subject == "Alice invites you to Acme"
    assert f"/invitations/{token}" in message.body
    assert f"/invitations/{token}" in message.alternatives[0].content
    assert invitations.find_open(token=token, now=NOW) == invitation


def test_an_invitation_that_cannot_be_made_is_not_told_of():
    account = make_account()
    with pytest.raises(ValueError, match="emperor"):
        notices.send(account=account, email="bob@example.com", role="emperor", invited_by=None, now=NOW)
    assert not Notification.objects.exists()


def test_a_failure_is_tried_again_with_growing_gaps_and_then_given_up(broken_mail):
    tell(make_account())
    now, gaps = NOW, []
    while Notification.objects.get().state == "pending":
        due = Notification.objects.get().due_at
        assert deliver(now=due - timedelta(microseconds=1)) == outbox.Delivery(0, 0, 0)
        gaps.append(due - now)
        now = due
        deliver(now=now)
    row = Notification.objects.get()
    assert (row.state, row.attempts) == ("failed", outbox.MAX_ATTEMPTS)
    assert gaps == [timedelta(0), *outbox.GAPS]
    assert "mail server is away" in row.last_error
    assert deliver(now=now + timedelta(days=99)) == outbox.Delivery(0, 0, 0)


def test_a_mail_server_that_comes_back_gets_the_mail(broken_mail, monkeypatch):
    tell(make_account())
    assert deliver().failed == 1
    monkeypatch.undo()
    mail.outbox = []
    assert deliver(now=NOW + outbox.GAPS[0]).sent == 1
    row = Notification.objects.get()
    assert (row.state, row.last_error, len(mail.outbox)) == ("sent", "", 1)


def test_one_bad_row_does_not_keep_others_waiting():
    outbox.write(kind="no_such_kind", dedupe_key="bad", account_id=None, payload={}, email="a@b.example", now=NOW)
    tell(make_account())
    assert deliver() == outbox.Delivery(sent=1, failed=1, given_up=0)


def test_a_row_without_any_address_fails_visibly():
    tell(None)
    assert deliver().failed == 1
    assert "NoRecipient" in Notification.objects.get().last_error


def test_a_row_whose_worker_died_comes_up_again(monkeypatch):
    def die(message, fail_silently=False):
        raise SystemExit

    tell(make_account())
    monkeypatch.setattr(EmailMultiAlternatives, "send", die)
    with pytest.raises(SystemExit):
        deliver()
    monkeypatch.undo()
    mail.outbox = []
    assert deliver(now=NOW + outbox.CLAIM - timedelta(seconds=1)).sent == 0
    assert deliver(now=NOW + outbox.CLAIM).sent == 1


def test_a_round_stops_at_its_limit():
    account = make_account()
    for number in range(3):
        tell(account, key=str(number))
    assert [deliver(limit=2).sent for _ in range(3)] == [2, 1, 0]


@pytest.mark.django_db(transaction=True)
def test_workers_that_deliver_at_once_share_the_rows():
    account = make_account()
    for number in range(40):
        tell(account, key=str(number))
    barrier = threading.Barrier(4)

    def work() -> int:
        try:
            barrier.wait()
            return deliver(limit=40).sent
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        sent = sum(done.result() for done in [pool.submit(work) for _ in range(4)])
    assert sent == 40
    assert len({message.extra_headers["Message-ID"] for message in mail.outbox}) == 40
