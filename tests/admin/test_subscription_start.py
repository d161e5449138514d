"""Staff start a subscription: shown first, once per form, by card or by transfer, within the day's limit."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from billing.accounts.models import Account, Approval, StaffAct
from billing.catalog.models import PlanVersion
from billing.invoicing.models import Invoice
from billing.subscriptions.agreement import contracts
from billing.subscriptions.models import Subscription
from tests.admin.conftest import Office, find_unrefused, post, text_of
from tests.admin.test_approvals import _staff
from tests.factories import make_account, make_issuer, make_plan
from tests.payments.makers import DECLINE, make_card
from tests.subscriptions.makers import subscribe


@pytest.fixture
def team(office: Office) -> PlanVersion:
    """50.00 euros a month with two seats and 1,000 credits, 5.00 for another seat."""
    make_issuer()
    Account.objects.filter(pk=office.account.pk).update(currency="EUR")
    return make_plan(
        "team", prices={"EUR": {"fee": "50", "seat_price": "5"}, "USD": {"fee": "60"}}, seats_included=2,
        included_credits=Decimal(1000), now=office.now - timedelta(days=1),
    )  # fmt: skip


def _page(account: Account) -> str:
    return f"/admin/billing/subscription/start/?account={account.pk}"


def _sent(team: PlanVersion, **fields: object) -> dict[str, object]:
    given = {"plan": team.pk, "seats": 3, "currency": "EUR", "collection": "automatic", "reason": "Called us"}
    return {"token": str(uuid.uuid4()), **given, **fields}


def test_the_page_is_found_from_the_account_and_the_list_and_asks_whose_it_is(
    staff: Client, office: Office, team: PlanVersion
) -> None:
    assert "Start a subscription" in text_of(staff, "/admin/billing/subscription/")
    assert _page(office.account) in text_of(staff, f"/admin/billing/account/{office.account.pk}/")
    start = "/admin/billing/subscription/start/"
    assert staff.post(start, {"account": office.account.pk})["Location"] == _page(office.account)
    assert [staff.get(f"{start}?account={text}").status_code for text in ("0", "x", "9" * 30)] == [404, 404, 404]
    assert not StaffAct.objects.exists()


def test_by_card_it_is_shown_then_charged_and_started_once(staff: Client, office: Office, team: PlanVersion) -> None:
    card = make_card(office.account, make_default=True, now=office.now)
    fields = _sent(team, method=card.pk)
    page = post(staff, _page(office.account), **fields)
    for words in ("Start this subscription?", "€50.00", "€5.00", "€65.45", "1,000", "4242"):
        assert words in page, words
    assert not Subscription.objects.exists()
    for _ in range(2):
        assert "The subscription has started." in post(staff, _page(office.account), **fields, _confirmed="x")
    row, act = Subscription.objects.get(), StaffAct.objects.get()
    assert (row.state, row.method, row.seats, Invoice.objects.get().state) == ("active", card, 3, "paid")
    assert (act.act, act.account, act.reason) == ("subscribe", office.account, "Called us")
    assert _page(office.account) not in text_of(staff, f"/admin/billing/account/{office.account.pk}/")


def test_a_declined_card_leaves_it_waiting_for_payment(staff: Client, office: Office, team: PlanVersion) -> None:
    make_card(office.account, DECLINE, make_default=True, now=office.now)
    assert "the card was not charged" in post(staff, _page(office.account), **_sent(team, _confirmed="x"))
    assert Subscription.objects.get().state == "incomplete"


def test_by_transfer_the_terms_of_payment_are_kept_for_every_invoice(
    staff: Client, office: Office, team: PlanVersion
) -> None:
    fields = _sent(team, collection="manual", payment_terms_days=45)
    assert "45 days after each invoice" in post(staff, _page(office.account), **fields)
    post(staff, _page(office.account), **fields, _confirmed="x")
    row, invoice = Subscription.objects.get(), Invoice.objects.get()
    assert (row.state, row.payment_terms_days, invoice.state) == ("active", 45, "open")
    assert invoice.due_at - invoice.issued_at == timedelta(days=45)


def test_terms_that_are_agreed_with_the_account_are_shown(staff: Client, office: Office, team: PlanVersion) -> None:
    contracts.agree(
        account_id=office.account.pk, agreed=contracts.Agreed(team.plan_id, "EUR", fee=Decimal(40)),
        starts_at=office.now - timedelta(hours=1), ends_at=None, note="x", actor="x", now=office.now,
    )  # fmt: skip
    page = post(staff, _page(office.account), **_sent(team, seats=2))
    assert "These prices are agreed with this account." in page
    assert "€47.60" in page


def test_one_over_the_limit_waits_for_a_second_person(
    staff: Client, client: Client, office: Office, team: PlanVersion, settings: object
) -> None:
    settings.FLORIN_APPROVAL_MONEY = "50"  # type: ignore[attr-defined]
    fields = _sent(team, collection="manual")
    assert "it will wait" in post(staff, _page(office.account), **fields)
    assert "A second person must approve" in post(staff, _page(office.account), **fields, _confirmed="x")
    assert not Subscription.objects.exists()
    client.force_login(_staff("fiona", "decide_approval", "view_approval"))
    page = f"/admin/billing/approval/{Approval.objects.get().pk}/approve/"
    assert "Approved and done." in post(client, page, note="")
    assert Subscription.objects.get().state == "active"


def test_what_cannot_be_started_is_refused_on_the_page(staff: Client, office: Office, team: PlanVersion) -> None:
    foreign = make_card(make_account("evil", now=office.now), now=office.now)
    faulty = [
        ({"plan": 0}, "Select a valid choice."),
        ({"currency": "JPY"}, "Select a valid choice."),
        ({"method": foreign.pk}, "Select a valid choice."),
        ({"coupon": "NONE"}, "The coupon cannot be redeemed"),
        ({"payment_terms_days": 5}, "A card is charged immediately"),
        ({"collection": "manual", "payment_terms_days": 366}, "less than or equal to 365"),
        ({"reason": ""}, "This field is required."),
    ]
    good = _sent(team, _confirmed="x")
    none = lambda: not Subscription.objects.exists()  # noqa: E731
    assert find_unrefused(staff, _page(office.account), good, faulty, unchanged=none) == []
    subscribe(office.account, team, currency="EUR", now=office.now)
    assert "The account has a subscription" in post(staff, _page(office.account), **_sent(team, _confirmed="x"))
    assert Subscription.objects.count() == 1


def test_only_those_who_may_change_subscriptions_start_one(client: Client, office: Office, team: PlanVersion) -> None:
    client.force_login(_staff("paula", "view_subscription", "view_account"))
    assert "Start a subscription" not in text_of(client, "/admin/billing/subscription/")
    assert client.get(_page(office.account)).status_code == 403
    assert client.post(_page(office.account), _sent(team, _confirmed="x")).status_code == 403
    assert not Subscription.objects.exists()
