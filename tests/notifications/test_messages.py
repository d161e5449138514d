"""What every kind says, as its readers get it."""

import re
from datetime import timedelta
from email import policy
from email.parser import BytesParser
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.urls import resolve

from billing.accounts.ids import encode
from billing.accounts.models import Account, Approval, Invitation, Member, Role, User
from billing.notifications import inbox, invitations, outbox
from billing.notifications.kinds import KINDS, Audience
from billing.notifications.models import Notification
from tests.factories import NOW, make_account, make_member, make_user
from tests.notifications import plan_kinds
from tests.notifications.makers import PAYLOADS, deliver, html_of, tell
from tests.undoing import check_each

pytestmark = pytest.mark.django_db
ACCOUNT_KINDS = sorted(kind.name for kind in KINDS.values() if kind.audience is not Audience.PERSON)
SUBJECTS = {
    "threshold": "Acme: 75% of this cycle's credits are used",
    "low_balance": "Acme: Fewer than 500 credits left in Main pool",
    "expiring": "Acme: 1,200 credits expire on 8 March 2025",
    "charge_refused": "Acme: Not enough credits in Main pool: requests are blocked",
    "receipt": "Acme: Receipt for invoice INV-7",
    "payment_failed": "Acme: Your payment of €119.00 did not go through",
    "refund": "Acme: Refund of €59.50",
    "dispute": "Acme: €119.00 of invoice INV-7 stay with your bank",
    "credit_note": "Acme: Credit note for €59.50",
    "top_up_failed": "Acme: Automatic top-up of Main pool failed",
    "top_up_switched_off": "Acme: Automatic top-up of Main pool is switched off",
    **plan_kinds.SUBJECTS,
}
SAYS = {
    "threshold": ["750.5 of 1,000 credits", "1 April 2025", "249.5"],
    "low_balance": ["480.5", "500"],
    "expiring": ["1,200 in Main pool", "8 March 2025 at 13:00 (Europe/Berlin)"],
    "charge_refused": ["12.5 credits", "3 credits", "1 March 2025 at 12:00 (Europe/Berlin)"],
    "receipt": ["€119.00", "INV-7", "5,000"],
    "payment_failed": ["€119.00", "INV-7", "The card was declined.", "Nothing was charged"],
    "refund": ["€59.50", "CN-3", "INV-7", "2,500"],
    "dispute": ["€119.00", "INV-7", "CN-5", "the credits that it paid for are gone"],
    "credit_note": ["€59.50", "CN-4", "INV-7", "Outage in March", "It will pay your next invoices"],
    "top_up_failed": ["The card was declined.", "1 March 2025 at 19:30 (Europe/Berlin)"],
    "top_up_switched_off": ["Three payments in a row were declined."],
    **plan_kinds.SAYS,
}


class Links(HTMLParser):
    """The addresses and the open tags of a page."""

    VOID = frozenset({"meta", "br", "img", "link", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.depth: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.depth.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.depth.pop() == tag


@pytest.fixture
def acme() -> Account:
    account = make_account("acme", time_zone="Europe/Berlin")
    make_member(account, make_user("alice"), Role.OWNER)
    return account


def mail_about(account: Account | None, kind: str, mailoutbox: list[Any], **options: Any) -> EmailMultiAlternatives:
    """The mail that one person gets about it."""
    tell(account, kind, **options)
    deliver()
    message: EmailMultiAlternatives = mailoutbox[0]
    return message


def assert_links_lead_somewhere(text: str, html: str) -> None:
    """Every link is to a page of ours that exists, the same ones in text and HTML."""
    page = Links(html)
    assert page.depth == []
    assert not {"img", "script", "link", "form", "iframe"} & set(page.tags)
    of_text = set(re.findall(r"https?://\S+", text))
    assert set(page.links) - {settings.FLORIN_PUBLIC_URL} == of_text
    for link in of_text:
        assert link.startswith(settings.FLORIN_PUBLIC_URL + "/")
        assert resolve(urlsplit(link).path)


def test_every_kind_of_an_account_is_looked_at_here() -> None:
    assert sorted(SUBJECTS) == sorted(SAYS) == sorted(PAYLOADS) == ACCOUNT_KINDS


def test_each_kind_says_what_it_is_about_in_text_and_html(acme: Account, mailoutbox: list[Any]) -> None:
    def check(kind: str) -> None:
        mailoutbox.clear()
        mail = mail_about(acme, kind, mailoutbox)
        assert mail.subject == SUBJECTS[kind]
        assert mail.to == ["alice@example.com"]
        html = html_of(mail)
        for said in SAYS[kind]:
            assert said in mail.body
            assert said in html
        assert_links_lead_somewhere(str(mail.body), html)

    check_each(ACCOUNT_KINDS, check)


def test_each_kind_is_told_once_per_address(acme: Account, mailoutbox: list[Any]) -> None:
    def check(kind: str) -> None:
        mailoutbox.clear()
        for _ in range(2):
            tell(acme, kind)
            deliver()
        deliver(now=NOW + timedelta(days=9))
        to = sorted(address for mail in mailoutbox for address in mail.to)
        money = KINDS[kind].audience is Audience.MONEY
        assert to == ["alice@example.com", *(["billing@acme.example"] if money else [])]

    check_each(ACCOUNT_KINDS, check)


def test_each_kind_has_a_preview_line_a_way_to_choose_and_a_name(acme: Account, mailoutbox: list[Any]) -> None:
    preferences = f"{settings.FLORIN_PUBLIC_URL}/a/{encode('acc', acme.pk)}/notifications/preferences"

    def check(kind: str) -> None:
        mailoutbox.clear()
        mail = mail_about(acme, kind, mailoutbox)
        assert mail.extra_headers["List-Unsubscribe"] == f"<{preferences}>"
        assert preferences in mail.body
        html = html_of(mail)
        body = html[html.index("<body") :]
        lead = str(mail.body).split("\n")[2]
        assert body.index(lead.split("'")[0][:30]) < body.index("<table")
        assert "prefers-color-scheme: dark" in html

    check_each(ACCOUNT_KINDS, check)


def test_what_customers_typed_is_inert_in_each_kind(mailoutbox: list[Any]) -> None:
    nasty = "Evil\r\nBcc: all@example.com\r\n\r\n<script>alert(1)</script>"
    account = make_account("acme", name=nasty)
    make_member(account, make_user("alice"), Role.OWNER)

    def check(kind: str) -> None:
        mailoutbox.clear()
        texts = {name: nasty for name in ("pool_name", "plan_name", "reason", "number") if name in PAYLOADS[kind]}
        mail = mail_about(account, kind, mailoutbox, **texts)
        assert "\n" not in mail.subject
        assert mail.recipients() == ["alice@example.com"]
        parsed = BytesParser(policy=policy.default).parsebytes(mail.message().as_bytes())
        assert parsed["Bcc"] is None
        assert "<script>" not in html_of(mail)

    check_each(ACCOUNT_KINDS, check)


def test_the_billing_address_reads_why_and_is_offered_no_login_pages(acme: Account, mailoutbox: list[Any]) -> None:
    tell(acme, "receipt")
    deliver()
    (mail,) = [mail for mail in mailoutbox if mail.to == ["billing@acme.example"]]
    assert "billing@acme.example is the billing address of Acme" in mail.body
    assert "preferences" not in mail.body
    assert "/login" not in mail.body
    assert "/a/acc_" not in mail.body
    assert "Members of the account find it in the portal." in mail.body
    assert "List-Unsubscribe" not in mail.extra_headers


@pytest.mark.parametrize(
    ("facts", "title"),
    [
        ({"threshold": 90}, "Acme: 90% of this cycle's credits are used"),
        ({"threshold": 100}, "Acme: All credits of this cycle are used"),
        ({"pool": "research", "pool_name": "Research"}, "Acme: 75% of this cycle's credits in Research are used"),
        ({"pool": "r", "pool_name": "R", "threshold": 100}, "Acme: All credits of this cycle in R are used"),
    ],
)
def test_a_threshold_names_how_much_and_where(
    acme: Account, facts: dict[str, Any], title: str, mailoutbox: list[Any]
) -> None:
    assert mail_about(acme, "threshold", mailoutbox, **facts).subject == title


def test_a_threshold_from_before_pools_had_names_is_still_told(acme: Account, mailoutbox: list[Any]) -> None:
    outbox.write(
        kind="threshold", dedupe_key="old", account_id=acme.pk, now=NOW,
        payload={key: value for key, value in PAYLOADS["threshold"].items() if key != "pool_name"},
    )  # fmt: skip
    deliver()
    assert "the main pool" in mailoutbox[0].body


def test_a_notification_says_the_same_however_late_it_is_read(acme: Account) -> None:
    """Its words are fixed when it is written: neither the time nor the account's new name changes them."""
    alice = Member.objects.select_related("account").get()
    before = {}
    for kind in ACCOUNT_KINDS:
        row = tell(acme, kind, key=kind)
        before[kind] = inbox.get_item(member=alice, notification_id=row.pk, now=NOW).message
    Account.objects.update(name="Other")
    alice = Member.objects.select_related("account").get()

    def check(kind: str) -> None:
        row = Notification.objects.get(dedupe_key=kind)
        after = inbox.get_item(member=alice, notification_id=row.pk, now=NOW + timedelta(days=400)).message
        assert after == before[kind]
        words = f"{after.title} {after.lead}"
        assert not re.search(r"\b(today|tomorrow|yesterday|in \d+ (hours?|days?|months?))\b", words), words

    check_each(ACCOUNT_KINDS, check)


def test_a_receipt_of_an_automatic_top_up_tells_of_its_credits_too(acme: Account, mailoutbox: list[Any]) -> None:
    mail = mail_about(acme, "receipt", mailoutbox, top_up_of="Research")
    assert mail.subject == "Acme: 5,000 credits added by automatic top-up"
    assert all(said in mail.body for said in ("Research was running low", "5,000", "€119.00", "INV-7"))


def test_credits_of_several_pools_that_expire_on_a_day_are_one_notification(
    acme: Account, mailoutbox: list[Any]
) -> None:
    pools = [{"pool": key, "pool_name": key.title(), "credits": "600.000000"} for key in ("research", "support")]
    mail = mail_about(acme, "expiring", mailoutbox, pools=pools)
    assert mail.subject == "Acme: 1,200 credits expire on 8 March 2025"
    assert "600 in Research, 600 in Support" in mail.body


def test_a_team_pools_name_stands_in_the_subject(acme: Account, mailoutbox: list[Any]) -> None:
    pools = [{"pool": "research", "pool_name": "Research", "credits": "1200.000000"}]
    mail = mail_about(acme, "expiring", mailoutbox, pools=pools)
    assert mail.subject == "Acme: 1,200 credits in Research expire on 8 March 2025"


def test_one_credit_expires_in_the_singular(acme: Account, mailoutbox: list[Any]) -> None:
    mail = mail_about(acme, "expiring", mailoutbox, credits="1.000000")
    assert mail.subject == "Acme: 1 credit expires on 8 March 2025"


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("America/New_York", "8 March 2025 at 07:00 (America/New_York)"),
        ("Pacific/Auckland", "9 March 2025 at 01:00 (Pacific/Auckland)"),
        ("UTC", "8 March 2025 at 12:00 (UTC)"),
    ],
)
def test_times_are_in_the_customers_zone(zone: str, said: str, mailoutbox: list[Any]) -> None:
    mail = mail_about(make_account("acme", time_zone=zone), "expiring", mailoutbox)
    assert said in mail.body
    assert said in html_of(mail)


def test_a_top_up_that_reached_its_limit_pauses_rather_than_fails(acme: Account, mailoutbox: list[Any]) -> None:
    mail = mail_about(acme, "top_up_failed", mailoutbox, reason="The most is reached.", is_capped="yes")
    assert mail.subject == "Acme: Automatic top-up of Main pool pauses"
    assert "/top-ups" in mail.body


def test_a_payment_that_failed_without_a_reason_is_told_without_one(acme: Account, mailoutbox: list[Any]) -> None:
    assert "Reason" not in mail_about(acme, "payment_failed", mailoutbox, reason="").body


def test_an_invitation_carries_the_link_that_works(acme: Account, mailoutbox: list[Any]) -> None:
    from billing.accounts import invitations as places

    alice = User.objects.get()
    invitations.send(account=acme, email="bob@example.com", role="admin", invited_by=alice, now=NOW)
    token = places.token_of(Invitation.objects.get())
    assert token not in str(Notification.objects.get().payload)
    deliver()
    (mail,) = mailoutbox
    assert (mail.to, mail.subject) == (["bob@example.com"], "Alice invites you to Acme")
    assert "8 March 2025 at 13:00 (Europe/Berlin)" in mail.body
    assert f"/invitations/{token}" in mail.body
    assert_links_lead_somewhere(mail.body, html_of(mail))
    assert places.find_open(token=token, now=NOW) == Invitation.objects.get()


def test_an_invitation_that_cannot_be_made_is_not_told_of(acme: Account) -> None:
    with pytest.raises(ValueError, match="emperor"):
        invitations.send(account=acme, email="bob@example.com", role="emperor", invited_by=None, now=NOW)
    assert not Notification.objects.exists()


@pytest.mark.parametrize(
    ("account_id", "subject"),
    [
        (7, "Ledger: Acme is parked, 1 difference found"),
        (None, "Ledger: the seal chain is broken, 1 difference found"),
    ],
)
def test_staff_are_told_what_does_not_add_up(account_id: int | None, subject: str, mailoutbox: list[Any]) -> None:
    mail = mail_about(
        None, "ledger_difference", mailoutbox, email="stella@example.com", account_id=account_id, account_name="Acme",
        differences=1, examples=["pool_balance: expected 10, found <b>11</b>"],
    )  # fmt: skip
    assert mail.subject == subject
    assert "- pool_balance: expected 10" in mail.body
    assert "<b>11" not in html_of(mail)
    assert_links_lead_somewhere(str(mail.body), html_of(mail))


def test_staff_are_told_which_renewal_failed_and_what_to_do(acme: Account, mailoutbox: list[Any]) -> None:
    mail = mail_about(
        acme, "subscription_parked", mailoutbox, email="fiona@example.com", subscription_id=5, account_name="Acme",
        plan_name="Team", due_at="2025-04-01T00:00:00+00:00", problem="Inconsistent: period 1 ends <b>late</b>",
    )  # fmt: skip
    assert (mail.subject, mail.to) == ("Acme: the plan Team could not be renewed", ["fiona@example.com"])
    for said in ("Was due: 1 April 2025", "Inconsistent: period 1", "then release the subscription", "/admin/work/"):
        assert said in mail.body
    assert "<b>late" not in html_of(mail)
    assert_links_lead_somewhere(str(mail.body), html_of(mail))


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("approval_waiting", "To approve: grant, 5,000 credits, Acme"),
        ("approval_decided", "Rejected: grant, 5,000 credits, Acme"),
    ],
)
def test_staff_are_told_what_waits_for_a_second_person(
    acme: Account, kind: str, subject: str, mailoutbox: list[Any]
) -> None:
    mail = mail_about(
        acme, kind, mailoutbox, email="fiona@example.com", approval_id=3, act="grant", amount="5,000 credits",
        account_name="Acme", reason="Sorry", requested_by="Stella", state=Approval.State.REJECTED, decided_by="Fiona",
        note="Too much",
    )  # fmt: skip
    assert (mail.subject, mail.to) == (subject, ["fiona@example.com"])
    assert ("Sorry" if kind == "approval_waiting" else "Too much") in mail.body
    assert_links_lead_somewhere(str(mail.body), html_of(mail))
