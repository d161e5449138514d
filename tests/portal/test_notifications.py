"""The inbox and the bell."""

from datetime import timedelta

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts.ids import encode
from billing.accounts.models import Role
from billing.notifications import inbox
from billing.notifications.models import Notification, NotificationRead
from portal.notifications.views_inbox import PAGE
from tests.factories import make_member, make_user
from tests.notifications.makers import tell
from tests.portal.conftest import MAX_QUERIES, Stage


def page_of(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def say(stage: Stage, kind: str = "receipt", key: str = "", ago: timedelta = timedelta(0), **facts: object) -> int:
    key = key or f"key:{Notification.objects.count()}"
    return tell(stage.account, kind, key=key, now=stage.now - ago, **facts).pk


def unread(stage: Stage) -> int:
    place = inbox.with_unread(stage.account.members.filter(user=stage.alice), now=stage.now).get()
    return int(place.unread)  # type: ignore[attr-defined]


def test_what_is_told_stands_in_the_inbox_at_once(alice: Client, stage: Stage) -> None:
    pk = say(stage, number="INV-9")
    page = page_of(alice, f"{stage.url}/notifications")
    assert "Receipt for invoice INV-9" in page
    assert "we have received your payment of €119.00" in page
    assert f'href="{stage.url}/notifications/{encode("ntf", pk)}"' in page
    assert "See the invoice" in page


def test_its_times_are_the_accounts(alice: Client, stage: Stage) -> None:
    say(stage)
    Notification.objects.update(created_at=stage.now.replace(year=2026, month=7, day=1, hour=2, minute=30))
    assert "30 June 2026, 22:30" in page_of(alice, f"{stage.url}/notifications")


def test_the_bell_counts_what_is_new_on_every_page(alice: Client, stage: Stage) -> None:
    assert "> new</span>" not in page_of(alice, stage.url)
    say(stage)
    say(stage, "payment_failed")
    for address in (stage.url, f"{stage.url}/ledger", f"{stage.url}/notifications"):
        page = page_of(alice, address)
        assert '<span class="count">2<span class="unseen"> new</span>' in page
    for number in range(120):
        say(stage, key=str(number))
    assert '<span class="count">99+<span' in page_of(alice, stage.url)


def test_following_one_reads_it_and_leads_to_its_page(alice: Client, stage: Stage) -> None:
    pk = say(stage, "top_up_failed")
    response = alice.get(f"{stage.url}/notifications/{encode('ntf', pk)}")
    assert (response.status_code, response["Location"]) == (302, f"{stage.url}/payment-methods")
    assert unread(stage) == 0
    assert NotificationRead.objects.count() == 1
    alice.get(f"{stage.url}/notifications/{encode('ntf', pk)}")
    assert NotificationRead.objects.count() == 1


def test_one_is_marked_as_read(alice: Client, stage: Stage) -> None:
    pk = say(stage)
    say(stage)
    response = alice.post(f"{stage.url}/notifications/read?show=unread", {"notification": pk})
    assert response["Location"] == f"{stage.url}/notifications?show=unread"
    assert unread(stage) == 1


def test_all_are_marked_as_read(alice: Client, stage: Stage) -> None:
    say(stage)
    say(stage)
    response = alice.post(f"{stage.url}/notifications/read", follow=True)
    assert "2 notifications marked as read" in response.content.decode()
    assert unread(stage) == 0
    page = page_of(alice, f"{stage.url}/notifications?show=unread")
    assert "You have read everything" in page
    assert "Receipt for invoice" in page_of(alice, f"{stage.url}/notifications")


def test_each_member_reads_for_themselves(alice: Client, stage: Stage, client_of_bob: Client) -> None:
    say(stage, "threshold")
    alice.post(f"{stage.url}/notifications/read")
    assert '<span class="count">1<' in page_of(client_of_bob, f"{stage.url}/notifications")


@pytest.fixture
def client_of_bob(stage: Stage) -> Client:
    bob = make_user("bob")
    make_member(stage.account, bob, Role.MEMBER, now=stage.now)
    client = Client()
    client.force_login(bob)
    return client


def test_money_is_in_the_inbox_of_owners_and_admins_only(stage: Stage, client_of_bob: Client) -> None:
    pk = say(stage, "receipt")
    say(stage, "threshold")
    page = page_of(client_of_bob, f"{stage.url}/notifications")
    assert "Receipt" not in page
    assert "credits are used" in page
    assert client_of_bob.get(f"{stage.url}/notifications/{encode('ntf', pk)}").status_code == 404
    client_of_bob.post(f"{stage.url}/notifications/read", {"notification": pk})
    assert not NotificationRead.objects.exists()


def test_mails_to_one_person_are_in_nobodys_inbox(alice: Client, stage: Stage) -> None:
    tell(stage.account, "threshold", email="carol@example.com", now=stage.now)
    assert "Nothing yet" in page_of(alice, f"{stage.url}/notifications")


def test_what_is_old_or_from_before_one_came_counts_as_read(stage: Stage, client_of_bob: Client) -> None:
    say(stage, "threshold", ago=timedelta(minutes=5))
    page = page_of(client_of_bob, f"{stage.url}/notifications")
    assert "credits are used" in page
    assert "Mark as read:" not in page
    stage.account.members.update(created_at=stage.now - timedelta(days=400))
    assert unread(stage) == 1
    Notification.objects.update(created_at=stage.now - inbox.READ_AFTER - timedelta(seconds=1))
    assert unread(stage) == 0


def test_a_long_inbox_has_pages(alice: Client, stage: Stage) -> None:
    for number in range(PAGE + 3):
        say(stage, key=str(number), number=f"INV-{number}.")
    first = page_of(alice, f"{stage.url}/notifications")
    assert (f"INV-{PAGE + 2}." in first, "INV-2." in first, "Newer" in first) == (True, False, False)
    older = first.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0]
    second = page_of(alice, older)
    assert ("INV-2." in second, "INV-0." in second, "Older" in second) == (True, True, False)
    newer = second.split('rel="prev"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    assert f"INV-{PAGE + 2}." in page_of(alice, newer)


@pytest.mark.parametrize("query", ["before=x", "after=-1", f"before={2**70}", "show=nonsense"])
def test_nonsense_in_the_address_shows_the_newest(alice: Client, stage: Stage, query: str) -> None:
    say(stage)
    assert "Receipt for invoice" in page_of(alice, f"{stage.url}/notifications?{query}")


def test_what_cannot_be_written_does_not_take_the_page_with_it(alice: Client, stage: Stage) -> None:
    say(stage, total="much")
    pk = say(stage, "threshold")
    page = page_of(alice, f"{stage.url}/notifications")
    assert "The details cannot be shown" in page
    assert f"/notifications/{encode('ntf', pk)}" in page


def test_what_customers_typed_is_inert(alice: Client, stage: Stage) -> None:
    say(stage, "low_balance", pool_name="<script>alert(1)</script>")
    page = page_of(alice, f"{stage.url}/notifications")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize("path", ["notifications", "notifications/ntf_0000000000009", "notifications/preferences"])
def test_strangers_and_anonymous_see_nothing(client: Client, stage: Stage, path: str) -> None:
    say(stage)
    assert client.get(f"{stage.url}/{path}")["Location"].startswith("/login")
    client.force_login(stage.mallory)
    assert client.get(f"{stage.url}/{path}").status_code == 404


def test_strangers_and_anonymous_mark_nothing(client: Client, stage: Stage) -> None:
    pk = say(stage)
    assert client.post(f"{stage.url}/notifications/read")["Location"].startswith("/login")
    client.force_login(stage.mallory)
    assert client.post(f"{stage.url}/notifications/read").status_code == 404
    elsewhere = stage.mallory.memberships.get().account
    client.post(f"/a/{encode('acc', elsewhere.pk)}/notifications/read", {"notification": pk})
    assert client.get(f"/a/{encode('acc', elsewhere.pk)}/notifications/{encode('ntf', pk)}").status_code == 404
    assert not NotificationRead.objects.exists()


def test_reading_marks_need_a_post_with_its_token(stage: Stage, alice: Client) -> None:
    say(stage)
    assert alice.get(f"{stage.url}/notifications/read").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(stage.alice)
    assert strict.post(f"{stage.url}/notifications/read").status_code == 403
    assert unread(stage) == 1


def test_it_takes_few_queries_whatever_there_is(
    alice: Client, stage: Stage, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(PAGE):
        say(stage, ("receipt", "threshold", "expiring")[number % 3], key=str(number))
    for path in ("notifications", "notifications?show=unread", "notifications/preferences"):
        with django_assert_max_num_queries(MAX_QUERIES):
            alice.get(f"{stage.url}/{path}")
