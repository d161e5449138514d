"""Several workers at once."""

import threading
from collections import Counter

import pytest
from django.core.mail import EmailMultiAlternatives

from billing.accounts.models import Role
from billing.notifications import delivery, fanout
from billing.notifications.models import Notification, NotificationDelivery
from tests.factories import NOW, make_account, make_member, make_user
from tests.ledger.racing import race
from tests.notifications.makers import deliver, tell

pytestmark = pytest.mark.django_db(transaction=True)
NOTIFICATIONS, PEOPLE, WORKERS = 20, 3, 4
MAILS = NOTIFICATIONS * PEOPLE


@pytest.fixture
def sent(monkeypatch):
    """Message-IDs that a mail server has taken, with how often."""
    taken, lock = Counter(), threading.Lock()

    def send(message, fail_silently=False):
        with lock:
            taken[message.extra_headers["Message-ID"]] += 1

    monkeypatch.setattr(EmailMultiAlternatives, "send", send)
    return taken


def write_all():
    account = make_account("acme")
    for number in range(PEOPLE):
        make_member(account, make_user(f"owner{number}"), Role.OWNER)
    for number in range(NOTIFICATIONS):
        tell(account, key=str(number))


def test_workers_that_sweep_at_once_mail_each_message_once(sent):
    write_all()
    outcome = race([lambda: deliver() and None] * WORKERS)
    deliver()
    assert outcome == {"done": WORKERS}
    assert len(sent) == MAILS
    assert set(sent.values()) == {1}
    assert NotificationDelivery.objects.filter(state="sent", attempts=1).count() == MAILS


def test_without_its_locks_the_same_race_mails_some_twice(sent, monkeypatch):
    # The positive control: the test above would notice.
    write_all()
    fanout.expand_due(now=NOW, limit=NOTIFICATIONS)
    together = threading.Barrier(WORKERS)

    def claim_without_lock(now, account_id):
        row = NotificationDelivery.objects.select_related("notification__account", "user").filter(state="pending")
        found = row.order_by("id").first()
        if not sent:
            together.wait(timeout=60)
        return found

    monkeypatch.setattr(delivery, "_claim", claim_without_lock)
    race([lambda: delivery.deliver_due(now=NOW, limit=1) and None] * WORKERS)
    assert sum(sent.values()) > len(sent)


def test_workers_that_expand_at_once_write_each_delivery_once():
    write_all()
    race([lambda: fanout.expand_due(now=NOW, limit=7) and None] * WORKERS)
    while fanout.expand_due(now=NOW, limit=7):
        pass
    assert NotificationDelivery.objects.count() == MAILS
    assert set(Notification.objects.values_list("state", flat=True)) == {"expanded"}


def test_the_database_refuses_a_second_row_for_an_address():
    # Two sweepers that both saw the notification as pending: the index decides.
    write_all()
    fanout.expand_due(now=NOW, limit=NOTIFICATIONS)
    NotificationDelivery.objects.update(state="sent", sent_at=NOW)
    Notification.objects.update(state="pending")
    race([lambda: fanout.expand_due(now=NOW, limit=NOTIFICATIONS) and None] * WORKERS)
    assert NotificationDelivery.objects.filter(state="sent").count() == NotificationDelivery.objects.count() == MAILS
