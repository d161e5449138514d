"""From a notification to the addresses it goes to."""

import pytest

from billing.accounts import members
from billing.accounts.models import Role
from billing.notifications import delivery, fanout, preferences
from billing.notifications.models import Notification, NotificationDelivery
from tests.factories import NOW, make_account, make_member, make_user
from tests.notifications.makers import addresses, deliver, tell

pytestmark = pytest.mark.django_db
BILLING = "billing@acme.example"


@pytest.fixture
def acme():
    """Alice owns it, amy is an admin, bob a member, vera a viewer."""
    account = make_account("acme")
    for name, role in (("alice", Role.OWNER), ("amy", Role.ADMIN), ("bob", Role.MEMBER), ("vera", Role.VIEWER)):
        make_member(account, make_user(name), role)
    make_member(make_account("elsewhere"), make_user("mallory"), Role.OWNER)
    return account


def place(account, name):
    return account.members.get(user__email=f"{name}@example.com")


def choose(account, name, **choices):
    preferences.save(
        member_id=place(account, name).pk, choices={(kind, "email"): wanted for kind, wanted in choices.items()}
    )


def expand():
    return fanout.expand_due(now=NOW, limit=100)


def test_usage_is_told_to_owners_and_admins(acme):
    tell(acme)
    assert expand() == 1
    assert addresses() == ["alice@example.com", "amy@example.com"]
    assert Notification.objects.get().state == "expanded"


def test_money_is_told_to_the_billing_address_too(acme):
    tell(acme, "receipt")
    expand()
    assert addresses() == ["alice@example.com", "amy@example.com", BILLING]


def test_an_account_without_people_has_its_billing_address_told():
    tell(make_account("acme"))
    expand()
    assert addresses() == [BILLING]


def test_an_address_gets_one_mail_whatever_it_is_there_for(acme):
    acme.billing_email = "ALICE@example.com"
    acme.save()
    tell(acme, "receipt")
    expand()
    assert addresses() == ["alice@example.com", "amy@example.com"]


def test_the_billing_address_of_an_owner_follows_the_owners_wish(acme):
    acme.billing_email = "amy@example.com"
    acme.save()
    choose(acme, "amy", receipt=False)
    tell(acme, "receipt")
    expand()
    assert addresses() == ["alice@example.com"]


def test_what_somebody_has_switched_off_is_not_mailed_to_them(acme):
    choose(acme, "alice", threshold=False)
    tell(acme)
    expand()
    assert addresses() == ["amy@example.com"]


def test_a_member_may_ask_for_mails_about_usage_but_not_about_money(acme):
    choose(acme, "bob", threshold=True, receipt=True)
    tell(acme, key="usage")
    tell(acme, "receipt", key="money")
    expand()
    told = NotificationDelivery.objects.filter(address="bob@example.com")
    assert list(told.values_list("notification__kind", flat=True)) == ["threshold"]


def test_when_everybody_prefers_the_inbox_nobody_is_mailed_and_nothing_is_wrong(acme):
    for name in ("alice", "amy"):
        choose(acme, name, threshold=False)
    tell(acme)
    expand()
    assert addresses() == []
    assert Notification.objects.get().state == "expanded"


def test_an_essential_kind_reaches_an_owner_also_when_the_listening_one_has_left(acme):
    carol = make_member(acme, make_user("carol"), Role.OWNER)
    choose(acme, "alice", payment_failed=False)
    members.remove(member_id=carol.pk, now=NOW)
    tell(acme, "payment_failed")
    expand()
    assert addresses() == ["alice@example.com", "amy@example.com", BILLING]


def test_who_has_left_or_is_locked_out_is_not_told(acme):
    members.remove(member_id=place(acme, "amy").pk, now=NOW)
    alice = place(acme, "alice").user
    alice.is_active = False
    alice.save()
    tell(acme)
    expand()
    assert addresses() == [BILLING]


def test_an_address_of_its_own_is_the_only_one(acme):
    tell(acme, email="bob@example.com")
    expand()
    assert addresses() == ["bob@example.com"]


def test_what_nobody_can_be_told_is_visible_and_can_be_looked_at_again():
    account = make_account("acme", billing_email="")
    tell(account)
    assert expand() == 1
    assert Notification.objects.get().state == "undeliverable"
    assert expand() == 0
    account.billing_email = BILLING
    account.save()
    assert delivery.expand_again(notifications=Notification.objects.all()) == 1
    expand()
    assert (addresses(), Notification.objects.get().state) == ([BILLING], "expanded")


def test_a_personal_kind_without_its_address_is_told_to_nobody(acme):
    tell(acme, "invitation")
    expand()
    assert Notification.objects.get().state == "undeliverable"
    assert addresses() == []


def test_looking_again_at_what_was_told_changes_nothing(acme):
    tell(acme)
    deliver()
    assert delivery.expand_again(notifications=Notification.objects.all()) == 0
    Notification.objects.update(state="pending")
    assert deliver().sent == 0
    assert addresses() == ["alice@example.com", "amy@example.com"]


def test_a_round_takes_as_few_queries_for_many_as_for_one(acme, django_assert_num_queries):
    other = make_account("other")
    for number in range(30):
        tell(acme if number % 2 else other, key=str(number))
    with django_assert_num_queries(8):
        assert expand() == 30
    assert NotificationDelivery.objects.count() == 15 * 2 + 15
