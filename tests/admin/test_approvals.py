"""Staff acts over the limit wait for a second person, who does them once."""

import uuid
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.utils import timezone

from billing.accounts.models import Approval, StaffAct, User
from billing.ledger import posting
from billing.ledger.models import CreditGrant, CreditPool, Posting
from billing.notifications import delivery, fanout
from billing.notifications.models import Notification
from tests.admin.conftest import Office, post, text_of
from tests.admin.test_grants import ADD, _fields
from tests.factories import make_user

QUEUE = "/admin/billing/approval/"


@pytest.fixture(autouse=True)
def _limit(settings) -> None:
    settings.FLORIN_APPROVAL_CREDITS, settings.FLORIN_APPROVAL_MONEY = 1000, 100


def _staff(name: str, *permissions: str) -> User:
    user = make_user(name)
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def fiona(office: Office) -> User:
    """The second person: may decide, and nothing else."""
    return _staff("fiona", "decide_approval", "view_approval", "view_account")


def _as(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def _asked(staff: Client, office: Office, amount: str = "5000") -> Approval:
    post(staff, ADD, **_fields(office, amount=amount, _confirmed="Grant"))
    return Approval.objects.get(state="waiting")


def _balance(office: Office) -> Decimal:
    return CreditPool.objects.get(pk=office.pool.pk).balance


def test_a_grant_over_the_limit_waits_and_grants_nothing(staff: Client, office: Office) -> None:
    fields = _fields(office, amount="1000.000001")
    assert "it will wait until a second person approves it" in post(staff, ADD, **fields)
    page = post(staff, ADD, **fields, _confirmed="Grant")
    assert "A second person must approve this: with what you did today it is over 1,000 credits" in page
    assert _balance(office) == 900
    waiting = Approval.objects.get()
    assert (waiting.state, waiting.credits, waiting.requested_by) == ("waiting", Decimal("1000.000001"), office.stella)
    assert StaffAct.objects.get().act == "ask"


def test_splitting_does_not_help_and_the_log_tells_all(staff: Client, office: Office) -> None:
    for _ in range(4):
        post(staff, ADD, **_fields(office, amount="400", _confirmed="Grant"))
    assert _balance(office) == 1700
    assert list(Approval.objects.order_by("pk").values_list("state", flat=True)) == [
        "immediate", "immediate", "waiting", "waiting",
    ]  # fmt: skip
    assert list(StaffAct.objects.order_by("pk").values_list("act", flat=True)) == ["grant", "grant", "ask", "ask"]


def test_sending_the_form_again_asks_once(staff: Client, office: Office) -> None:
    fields = _fields(office, amount="5000", _confirmed="Grant")
    for _ in range(3):
        assert "A second person must approve" in post(staff, ADD, **fields)
    assert Approval.objects.count() == 1
    assert StaffAct.objects.count() == 1


def test_a_second_person_approves_and_it_is_granted_once(staff: Client, office: Office, fiona: User) -> None:
    waiting = _asked(staff, office)
    _as(staff, fiona)
    page = text_of(staff, f"{QUEUE}{waiting.pk}/approve/")
    assert "Approve: Grant credits, 5,000 credits?" in page
    assert "Sorry for the outage" in page
    assert "Main pool" in page
    for _ in range(3):
        post(staff, f"{QUEUE}{waiting.pk}/approve/", note="Agreed")
    assert _balance(office) == 5900
    made = Posting.objects.get(reference=waiting.reference)
    assert (made.note, made.actor) == ("Sorry for the outage", f"user:{office.stella.pk}")
    waiting.refresh_from_db()
    assert (waiting.state, waiting.decided_by, waiting.decision_note) == ("approved", fiona, "Agreed")
    approved = StaffAct.objects.filter(act="approve").get()
    assert (approved.user, approved.reason, approved.account) == (fiona, "Agreed", office.account)


def test_those_who_may_decide_are_told_and_so_is_the_author(staff: Client, office: Office, fiona: User) -> None:
    _staff("sam")
    root = User.objects.create_superuser("root@example.com", "x")
    waiting = _asked(staff, office)
    told = Notification.objects.filter(kind="approval_waiting").values_list("email", flat=True)
    assert set(told) == {fiona.email, root.email}
    post(_as(staff, fiona), f"{QUEUE}{waiting.pk}/reject/", note="Too much")
    decided = Notification.objects.get(kind="approval_decided")
    assert (decided.email, decided.payload["note"]) == (office.stella.email, "Too much")
    assert _balance(office) == 900


def test_a_rejection_needs_a_reason(staff: Client, office: Office, fiona: User) -> None:
    waiting = _asked(staff, office)
    assert "This field is required" in post(_as(staff, fiona), f"{QUEUE}{waiting.pk}/reject/", note="")
    waiting.refresh_from_db()
    assert waiting.state == "waiting"


def test_nobody_approves_or_rejects_their_own(staff: Client, office: Office) -> None:
    waiting = _asked(staff, office)
    for page in ("approve", "reject"):
        assert "somebody else must decide" in post(staff, f"{QUEUE}{waiting.pk}/{page}/", note="x")
    assert _balance(office) == 900
    acts = text_of(staff, f"{QUEUE}{waiting.pk}/change/")
    assert f"{waiting.pk}/withdraw/" in acts
    assert f"{waiting.pk}/approve/" not in acts


def test_the_author_withdraws(staff: Client, office: Office, fiona: User) -> None:
    waiting = _asked(staff, office)
    assert "Withdraw: Grant credits" in text_of(staff, f"{QUEUE}{waiting.pk}/withdraw/")
    assert "Withdrawn." in post(staff, f"{QUEUE}{waiting.pk}/withdraw/")
    assert "else has decided it" in post(staff, f"{QUEUE}{waiting.pk}/withdraw/")
    assert _as(staff, fiona).post(f"{QUEUE}{waiting.pk}/withdraw/").status_code == 404
    assert "else has decided it" in post(_as(staff, fiona), f"{QUEUE}{waiting.pk}/approve/", note="")
    assert _balance(office) == 900


def test_who_may_not_decide_is_refused(staff: Client, office: Office) -> None:
    waiting = _asked(staff, office)
    _as(staff, _staff("sam", "view_approval", "add_creditgrant"))
    for page in ("approve", "reject"):
        assert staff.get(f"{QUEUE}{waiting.pk}/{page}/").status_code == 403
        assert staff.post(f"{QUEUE}{waiting.pk}/{page}/", {"note": "x"}).status_code == 403
    assert staff.get(f"{QUEUE}999999/withdraw/").status_code == 404
    waiting.refresh_from_db()
    assert waiting.state == "waiting"


def test_what_cannot_be_done_any_more_goes_on_waiting(staff: Client, office: Office, fiona: User) -> None:
    post(staff, ADD, **_fields(office, amount="1000", _confirmed="Grant"))
    revoke = {"token": str(uuid.uuid4()), "amount": "500", "reason": "A mistake"}
    post(staff, f"/admin/billing/creditgrant/{office.lot.pk}/revoke/", **revoke)
    waiting = Approval.objects.get(state="waiting")
    posting.spend(pool_id=office.pool.pk, credits=Decimal(850), reference="usage:2", now=office.now)
    page = post(_as(staff, fiona), f"{QUEUE}{waiting.pk}/approve/", note="")
    assert "It cannot be done any more: Fewer credits than that are left" in page
    waiting.refresh_from_db()
    assert (waiting.state, waiting.decided_by) == ("waiting", None)
    assert not Notification.objects.filter(kind="approval_decided").exists()
    assert not StaffAct.objects.filter(act="approve").exists()


def test_a_grant_that_would_have_expired_meanwhile_is_not_made(staff: Client, office: Office, fiona: User) -> None:
    waiting = _asked(staff, office)
    Approval.objects.update(payload={**waiting.payload, "expires_at": "2020-01-01T00:00:00+00:00"})
    assert "would have expired by now" in post(_as(staff, fiona), f"{QUEUE}{waiting.pk}/approve/", note="")
    assert CreditGrant.objects.count() == 1


def test_the_queue_is_filtered_and_shows_what_is_asked(staff: Client, office: Office) -> None:
    _asked(staff, office)
    post(staff, ADD, **_fields(office, amount="1", _confirmed="Grant"))
    page = text_of(staff, f"{QUEUE}?state__exact=waiting")
    assert "Grant credits" in page
    assert "5,000 credits" in page
    assert "1 approval" in page


def test_the_e_mails_say_what_is_asked_and_what_was_decided(
    staff: Client, office: Office, fiona: User, mailoutbox: list[EmailMultiAlternatives]
) -> None:
    waiting = _asked(staff, office)
    post(_as(staff, fiona), f"{QUEUE}{waiting.pk}/approve/", note="Agreed")
    fanout.expand_due(now=timezone.now(), limit=100)
    delivery.deliver_due(now=timezone.now(), limit=100)
    asked, decided = mailoutbox
    assert (asked.to, decided.to) == ([fiona.email], [office.stella.email])
    for mail in mailoutbox:
        assert "5,000 credits" in mail.subject
        assert f"/admin/billing/approval/{waiting.pk}/change/" in mail.body
    assert "Stella" in asked.body
    assert "Sorry for the outage" in asked.body
    assert "Fiona approved" in decided.body
    assert "Agreed" in decided.body
