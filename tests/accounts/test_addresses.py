"""Whether an address has been proved."""

import base64
import json
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core.management import call_command
from django.utils import timezone

from billing.accounts import addresses
from billing.accounts.models import User
from tests.factories import make_user

pytestmark = pytest.mark.django_db


def rows(user):
    return list(EmailAddress.objects.filter(user=user).order_by("email").values_list("email", "verified", "primary"))


def test_whoever_is_made_here_is_vouched_for():
    assert rows(make_user("alice")) == [("alice@example.com", True, True)]
    call_command("createsuperuser", email="Root@Example.com", interactive=False)
    assert rows(User.objects.get(email="root@example.com")) == [("root@example.com", True, True)]


def test_trusting_another_address_forgets_the_one_before():
    alice = make_user("alice")
    alice.email = "Alice@New.example"
    alice.save()
    addresses.trust(alice)
    assert rows(alice) == [("alice@new.example", True, True)]


def test_a_wanted_address_is_found_and_dropped():
    alice = make_user("alice")
    assert addresses.find_wanted(alice) == ""
    EmailAddress.objects.create(user=alice, email="new@example.com", verified=False, primary=False)
    assert addresses.find_wanted(alice) == "new@example.com"
    addresses.drop_wanted(alice)
    assert rows(alice) == [("alice@example.com", True, True)]


def test_the_link_of_an_e_mail_proves_its_address_once_for_three_days_and_counts_nothing(monkeypatch):
    alice = make_user("alice")
    wanted = EmailAddress.objects.create(user=alice, email="new@example.com", verified=False, primary=False)
    key = addresses.key_of(wanted.pk)
    said = key.split(":")[0]
    assert json.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4))) == [alice.pk, "new@example.com"]
    found = addresses.find_by_key(key)
    assert found is not None
    assert found.email_address == wanted
    later = timezone.now() + timedelta(days=3, seconds=1)
    with monkeypatch.context() as patch:
        patch.setattr("time.time", later.timestamp)
        late = addresses.find_by_key(key)
    EmailAddress.objects.filter(pk=wanted.pk).update(verified=True)
    assert [late, addresses.find_by_key(key), addresses.find_by_key(f"x{key}")] == [None, None, None]
