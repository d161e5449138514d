"""Whether an address has been proved, and what the migration makes of the people there were before."""

from importlib import import_module

import pytest
from allauth.account.models import EmailAddress
from django.core.management import call_command
from django.db import connection

from billing.accounts import addresses
from billing.accounts.models import User
from tests.factories import make_user

pytestmark = pytest.mark.django_db
MIGRATION = import_module("billing.migrations.0003_entrance")


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


def test_the_migration_trusts_whom_there_is_and_writes_addresses_in_lower_case():
    old = User.objects.create(email="old@example.com")
    new = make_user("new")
    EmailAddress.objects.filter(user=new).update(verified=False)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_user SET email = 'Old@Example.com' WHERE id = %s", [old.pk])
        cursor.execute(MIGRATION._ADDRESSES)
    assert User.objects.get(pk=old.pk).email == "old@example.com"
    assert rows(old) == [("old@example.com", True, True)]
    assert rows(new) == [("new@example.com", False, True)], "who has said something already is left alone"
