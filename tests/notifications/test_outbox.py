"""Saying something once."""

import pytest
from django.db import transaction

from billing.notifications import outbox
from billing.notifications.models import Notification, NotificationDelivery
from tests.factories import NOW, make_account
from tests.notifications.makers import THRESHOLD, deliver, tell

pytestmark = pytest.mark.django_db


def test_the_same_thing_is_told_once(mailoutbox):
    account = make_account()
    tell(account)
    tell(account)
    assert deliver().sent == 1
    tell(account)
    assert deliver().sent == 0
    assert (len(mailoutbox), Notification.objects.count()) == (1, 1)


def test_writing_looks_nothing_up(django_assert_num_queries):
    account = make_account()
    with django_assert_num_queries(1), transaction.atomic(durable=False, savepoint=False):
        outbox.write(kind="threshold", dedupe_key="a", account_id=account.pk, payload=THRESHOLD, now=NOW)
    assert not NotificationDelivery.objects.exists()


def test_what_is_rolled_back_is_never_told(mailoutbox):
    account = make_account()
    with transaction.atomic():
        tell(account)
        transaction.set_rollback(True)
    assert deliver().sent == 0
    assert mailoutbox == []
