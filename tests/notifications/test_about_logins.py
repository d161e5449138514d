"""Messages about logins: the secrets of links, and what was changed by whom."""

import pytest
from django.core import mail

from billing.accounts.models import User
from billing.notifications import delivery, fanout, logins
from billing.notifications.kinds import KINDS
from billing.notifications.models import Notification
from tests.factories import NOW, make_user

pytestmark = pytest.mark.django_db
NOTICES = ["password_changed", "email_changed", "two_factor_on", "two_factor_off", "recovery_codes_made"]


def deliver():
    fanout.expand_due(now=NOW, limit=10)
    delivery.deliver_due(now=NOW, limit=10)
    return mail.outbox


@pytest.mark.parametrize("kind", NOTICES)
def test_a_change_is_told_with_when_where_and_what_to_do(kind):
    user = User.objects.create_user("alice@example.com", name="Alice <b>\r\nBcc: all@example.com")
    logins.tell_changed(
        kind=kind, user=user, email=user.email, client="Firefox on Linux", where="203.0.113.7",
        new_email="new@example.com", now=NOW,
    )  # fmt: skip
    (message,) = deliver()
    assert message.to == ["alice@example.com"]
    assert "\n" not in message.subject
    for text in (message.body, message.alternatives[0].content):
        assert "Firefox on Linux" in text
        assert "203.0.113.7" in text
        assert "1 March 2025 at 12:00 (UTC)" in text
        assert "/password-reset" in text
    assert "<b>" not in message.alternatives[0].content


def test_what_is_said_by_nobodys_browser_names_none():
    user = make_user("alice")
    logins.tell_changed(kind="two_factor_off", user=user, email=user.email, client="", where="our staff", now=NOW)
    (message,) = deliver()
    assert "From: our staff" in message.body
    assert "With:" not in message.body


def test_the_same_may_happen_again_but_not_at_the_same_moment():
    user = make_user("alice")
    for _ in range(2):
        logins.tell(kind="account_exists", about=user.email, email=user.email, payload={}, now=NOW)
    assert Notification.objects.count() == 1


def test_these_are_nobodys_choice_and_in_no_inbox():
    for kind in [*NOTICES, "verify_email", "password_reset", "account_exists"]:
        assert KINDS[kind].readers == frozenset()
