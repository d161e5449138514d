"""Mailing what is due, and trying again."""

import smtplib
from datetime import timedelta

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from billing.accounts import members
from billing.accounts.models import Role
from billing.notifications import delivery, fanout
from billing.notifications.delivery import Round
from billing.notifications.models import NotificationDelivery
from tests.factories import NOW, make_account, make_member, make_user
from tests.notifications.makers import deliver, tell

pytestmark = pytest.mark.django_db


@pytest.fixture
def broken_mail(monkeypatch):
    def refuse(message, fail_silently=False):
        raise smtplib.SMTPServerDisconnected("mail server is away")

    monkeypatch.setattr(EmailMultiAlternatives, "send", refuse)


def test_a_failure_is_tried_again_with_growing_gaps_and_then_given_up(broken_mail):
    tell(make_account())
    fanout.expand_due(now=NOW, limit=1)
    now, gaps = NOW, []
    while NotificationDelivery.objects.get().state == "pending":
        due = NotificationDelivery.objects.get().due_at
        assert deliver(now=due - timedelta(microseconds=1)) == Round()
        gaps.append(due - now)
        now = due
        deliver(now=now)
    row = NotificationDelivery.objects.get()
    assert (row.state, row.attempts) == ("failed", delivery.MAX_ATTEMPTS)
    assert gaps == [timedelta(0), *delivery.GAPS]
    assert "mail server is away" in row.last_error
    assert deliver(now=now + timedelta(days=99)) == Round()


def test_a_mail_server_that_comes_back_gets_the_mail(broken_mail, monkeypatch):
    tell(make_account())
    assert deliver().failed == 1
    monkeypatch.undo()
    mail.outbox = []
    assert deliver(now=NOW + delivery.GAPS[0]).sent == 1
    row = NotificationDelivery.objects.get()
    assert (row.state, row.last_error, len(mail.outbox)) == ("sent", "", 1)


def test_what_one_address_refuses_the_others_get(monkeypatch):
    account = make_account("acme")
    for name in ("alice", "amy"):
        make_member(account, make_user(name), Role.OWNER)
    sent = []

    def send(message, fail_silently=False):
        if message.to == ["alice@example.com"]:
            raise smtplib.SMTPRecipientsRefused({})
        sent.append(message.to)

    monkeypatch.setattr(EmailMultiAlternatives, "send", send)
    tell(account)
    assert deliver() == Round(sent=1, failed=1)
    assert deliver(now=NOW + delivery.GAPS[0]) == Round(failed=1)
    assert sent == [["amy@example.com"]]


def test_one_kind_nobody_can_write_does_not_keep_others_waiting():
    account = make_account()
    tell(account, "no_such_kind", key="bad")
    tell(account)
    assert deliver() == Round(sent=1, failed=1)
    assert "UnknownKind" in NotificationDelivery.objects.get(state="pending").last_error


def test_a_payload_that_lacks_a_fact_fails_visibly():
    tell(make_account(), "receipt", total="much")
    assert deliver().failed == 1
    assert NotificationDelivery.objects.get().last_error


def test_who_has_left_meanwhile_is_not_mailed(monkeypatch):
    account = make_account("acme")
    make_member(account, make_user("alice"), Role.OWNER)
    amy = make_member(account, make_user("amy"), Role.ADMIN)
    eve = make_member(account, make_user("eve"), Role.ADMIN)
    tell(account)
    fanout.expand_due(now=NOW, limit=9)
    members.remove(member_id=amy.pk, now=NOW)
    eve.user.is_active = False
    eve.user.save()
    assert deliver() == Round(sent=1, dropped=2)
    states = dict(NotificationDelivery.objects.values_list("address", "state"))
    assert states == {"alice@example.com": "sent", "amy@example.com": "dropped", "eve@example.com": "dropped"}


def test_who_may_no_longer_see_money_is_not_mailed_about_it():
    account = make_account("acme")
    make_member(account, make_user("alice"), Role.OWNER)
    amy = make_member(account, make_user("amy"), Role.ADMIN)
    tell(account, "receipt", key="money")
    tell(account, "threshold", key="usage")
    fanout.expand_due(now=NOW, limit=9)
    members.change_role(member_id=amy.pk, role=Role.VIEWER, now=NOW)
    assert deliver() == Round(sent=4, dropped=1)


def test_a_row_whose_worker_died_comes_up_again(monkeypatch):
    def die(message, fail_silently=False):
        raise SystemExit

    tell(make_account())
    monkeypatch.setattr(EmailMultiAlternatives, "send", die)
    with pytest.raises(SystemExit):
        deliver()
    monkeypatch.undo()
    mail.outbox = []
    assert deliver(now=NOW + delivery.CLAIM - timedelta(seconds=1)).sent == 0
    assert deliver(now=NOW + delivery.CLAIM).sent == 1


def test_a_worker_that_was_taken_for_dead_does_not_overwrite_the_outcome(monkeypatch):
    tell(make_account())
    late = NOW + delivery.CLAIM

    def overtaken(message, fail_silently=False):
        monkeypatch.undo()
        mail.outbox = []
        assert delivery.deliver_due(now=late, limit=1).sent == 1
        raise smtplib.SMTPServerDisconnected("too late")

    monkeypatch.setattr(EmailMultiAlternatives, "send", overtaken)
    deliver()
    row = NotificationDelivery.objects.get()
    assert (row.state, row.sent_at, row.attempts, row.last_error) == ("sent", late, 2, "")


def test_a_round_stops_at_its_limit():
    account = make_account()
    for number in range(3):
        tell(account, key=str(number))
    fanout.expand_due(now=NOW, limit=9)
    assert [delivery.deliver_due(now=NOW, limit=2).sent for _ in range(3)] == [2, 1, 0]


def test_what_was_given_up_is_retried_from_its_row_and_what_was_sent_is_not(broken_mail, monkeypatch):
    account = make_account()
    tell(account)
    deliver()
    NotificationDelivery.objects.update(state="failed", attempts=delivery.MAX_ATTEMPTS)
    monkeypatch.undo()
    mail.outbox = []
    later = NOW + timedelta(days=3)
    assert delivery.retry(deliveries=NotificationDelivery.objects.all(), now=later) == 1
    assert deliver(now=later).sent == 1
    assert delivery.retry(deliveries=NotificationDelivery.objects.all(), now=later) == 0
    assert deliver(now=later) == Round()
