"""Staff pages of subscriptions: looking, and every act."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing.accounts.models import Account, Approval, StaffAct, User
from billing.admin import work
from billing.catalog.models import Coupon, PlanVersion
from billing.invoicing import settling
from billing.invoicing.models import Invoice
from billing.payments import disputes
from billing.payments.gateways.contract import DisputeReport
from billing.payments.models import Payment
from billing.subscriptions.followup import payment_news
from billing.subscriptions.lifecycle import changes, pause_cancel
from billing.subscriptions.models import Subscription
from tests.admin.conftest import MAX_QUERIES, Office, post, text_of
from tests.admin.test_approvals import _staff
from tests.factories import make_issuer, make_plan
from tests.subscriptions.makers import subscribe
from tests.undoing import undone

B = "/admin/billing/subscription"


@pytest.fixture
def team(office: Office) -> PlanVersion:
    make_issuer()
    return make_plan("team", prices={"EUR": {"fee": "50", "seat_price": "5"}}, seats_included=2,
                     included_credits=Decimal(1000))  # fmt: skip


@pytest.fixture
def subscription(office: Office, team: PlanVersion) -> Subscription:
    """Three seats of team since five days, by bank transfer."""
    Account.objects.filter(pk=office.account.pk).update(currency="EUR")
    return subscribe(office.account, team, seats=3, currency="EUR", now=office.now - timedelta(days=5))


def _url(row: Subscription, page: str) -> str:
    return f"{B}/{row.pk}/{page}/"


def _form(**fields: object) -> dict[str, object]:
    return {"token": str(uuid.uuid4()), "reason": "They asked", **fields}


def test_a_subscription_is_listed_and_shown_with_its_parts(
    staff: Client, subscription: Subscription, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    assert "Team v1" in text_of(staff, f"{B}/")
    page = text_of(staff, _url(subscription, "change"))
    for words in ("number 1,", "€50.00", "subscribed", "INV-000001", "1,000", "Change plan or seats", "Cancel"):
        assert words in page
    with django_assert_max_num_queries(MAX_QUERIES + 8):
        staff.get(_url(subscription, "change"))


def test_credits_that_a_dispute_holds_back_say_so(staff: Client, office: Office, team: PlanVersion) -> None:
    Account.objects.filter(pk=office.account.pk).update(currency="EUR")
    prices = {"EUR": {"fee": "1200"}}
    year = make_plan("year", interval="year", grants_monthly=True, included_credits=Decimal(100), prices=prices)
    subscription = subscribe(office.account, year, currency="EUR", now=office.now)
    invoice = Invoice.objects.get()
    payment = Payment.objects.create(
        invoice=invoice, gateway="manual", idempotency_key="k", amount=invoice.total, currency="EUR", state="succeeded",
        created_at=office.now, finished_at=office.now,
    )  # fmt: skip
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=office.now)
    report = DisputeReport("k", "du_1", invoice.total, "EUR", "fraudulent", "open", None)
    disputes.record(payment_id=payment.pk, report=report, now=office.now)
    assert payment_news.follow_up(now=office.now, limit=10).followed == 1
    page = text_of(staff, _url(subscription, "change"))
    assert "du_1 (open)" in page
    assert "100 credits that were granted, 1,100 still to come" in page


def test_a_simple_act_asks_why_and_is_in_the_log(staff: Client, subscription: Subscription) -> None:
    for page, before, after in (
        ("pause", "active", "paused"), ("resume", "paused", "active"), ("reactivate", "cancelled", "active"),
    ):  # fmt: skip
        with undone():
            Subscription.objects.update(state=before)
            assert "Reason" in text_of(staff, _url(subscription, page))
            form = _form()
            post(staff, _url(subscription, page), **form)
            post(staff, _url(subscription, page), **form)
            subscription.refresh_from_db()
            assert subscription.state == after, page
            act = StaffAct.objects.filter(act=page).order_by("pk").first()
            assert act is not None, page
            assert (act.reason, act.after["state"]) == ("They asked", after), page


def test_what_the_state_does_not_allow_is_said(staff: Client, subscription: Subscription) -> None:
    page = post(staff, _url(subscription, "resume"), **_form())
    assert "The subscription&#x27;s state does not allow this." in page
    assert StaffAct.objects.get().act == "refused"


def test_a_change_is_shown_before_it_is_made(staff: Client, subscription: Subscription, team: PlanVersion) -> None:
    form = _form(plan=team.pk, seats=5, when="now")
    page = post(staff, _url(subscription, "change-plan"), **form)
    assert "Invoiced today, tax included" in page
    assert "Change it" in page
    assert Subscription.objects.get().seats == 3
    assert "The subscription is changed." in post(staff, _url(subscription, "change-plan"), **form, _confirmed="1")
    assert Subscription.objects.get().seats == 5
    assert StaffAct.objects.get().act == "plan_change"


def test_a_change_of_nothing_is_refused(staff: Client, subscription: Subscription, team: PlanVersion) -> None:
    page = post(staff, _url(subscription, "change-plan"), **_form(plan=team.pk, seats=3))
    assert "It has that plan and those seats already." in page


def test_a_change_at_the_end_is_scheduled_and_withdrawn(staff: Client, subscription: Subscription) -> None:
    small = make_plan("small", prices={"EUR": {"fee": "9"}})
    form = _form(plan=small.pk, seats=0, when="period_end")
    post(staff, _url(subscription, "change-plan"), **form, _confirmed="1")
    assert subscription.scheduled_changes.get().plan_version == small
    said = f"the change to Small, 0 seats, planned for {subscription.period_ends_at:%Y-%m-%d %H:%M}"
    for page in ("pause", "cancel"):
        assert said in text_of(staff, _url(subscription, page))
    assert said in post(staff, _url(subscription, "change-plan"), **_form(plan=subscription.plan_version_id, seats=5))
    assert "It stays as it is." in post(staff, _url(subscription, "withdraw"), **_form())
    assert subscription.scheduled_changes.get().withdrawn_at is not None


def test_cancelling_runs_out_or_ends_it(staff: Client, subscription: Subscription) -> None:
    assert "Unused days, before tax" in text_of(staff, _url(subscription, "cancel"))
    post(staff, _url(subscription, "cancel"), **_form(when="period_end"))
    subscription.refresh_from_db()
    assert subscription.state == "cancelled"
    post(staff, _url(subscription, "cancel"), **_form(when="now"))
    subscription.refresh_from_db()
    assert subscription.state == "ended"
    assert "Cancel</a>" not in text_of(staff, _url(subscription, "change"))


def test_giving_back_only_goes_with_ending_now(staff: Client, subscription: Subscription) -> None:
    page = post(staff, _url(subscription, "cancel"), **_form(when="period_end", gives_back="on"))
    assert "What runs to its end is not given back." in page
    assert Subscription.objects.get().state == "active"


def test_giving_back_counts_against_the_authors_day(
    staff: Client, subscription: Subscription, settings: object
) -> None:
    post(staff, _url(subscription, "cancel"), **_form(when="now", gives_back="on"))
    asked = Approval.objects.get()
    assert (asked.act, asked.state, asked.currency) == ("plan_cancel", "immediate", "EUR")
    assert 0 < asked.amount < 55
    assert Subscription.objects.get().state == "ended"


def test_over_the_limit_a_second_person_decides(
    client: Client, office: Office, subscription: Subscription, settings: pytest.FixtureRequest
) -> None:
    settings.FLORIN_APPROVAL_MONEY = 1  # type: ignore[attr-defined]
    client.force_login(office.stella)
    post(client, _url(subscription, "cancel"), **_form(when="now", gives_back="on"))
    asked = Approval.objects.get()
    assert (asked.state, Subscription.objects.get().state) == ("waiting", "active")
    client.force_login(User.objects.create_superuser("sam@example.com", "florin", name="Sam"))
    post(client, f"/admin/billing/approval/{asked.pk}/approve/", note="")
    assert Subscription.objects.get().state == "ended"


def test_a_coupon_is_redeemed_or_refused(staff: Client, office: Office, subscription: Subscription) -> None:
    Coupon.objects.create(code="SPRING", name="Spring", percent=10, duration_periods=3, created_at=office.now)
    assert "It counts from the next invoice on." in post(staff, _url(subscription, "coupon"), **_form(code="spring"))
    assert "cannot be redeemed" in post(staff, _url(subscription, "coupon"), **_form(code="NONE"))
    assert subscription.redemptions.count() == 1


def test_a_parked_one_waits_at_work_and_is_released(staff: Client, office: Office, subscription: Subscription) -> None:
    Subscription.objects.update(parked_at=office.now, problem="KeyError: x", state="past_due", past_due_at=office.now)
    queues = {queue.name: queue for queue in work.list_queues(user=office.stella, now=office.now)}
    for name in ("Parked subscriptions", "Subscriptions past due"):
        assert queues[name].count == 1
        assert staff.get(queues[name].url).context["cl"].result_count == 1
    assert "KeyError: x" in text_of(staff, _url(subscription, "release"))
    post(staff, _url(subscription, "release"), **_form())
    subscription.refresh_from_db()
    assert (subscription.parked_at, subscription.problem) == (None, "")


def test_the_account_at_a_glance_shows_the_plan(staff: Client, office: Office, subscription: Subscription) -> None:
    page = text_of(staff, f"/admin/billing/account/{office.account.pk}/")
    assert f'<a href="{_url(subscription, "change")}">Team v1</a>' in page
    pause_cancel.cancel(subscription_id=subscription.pk, when="now", reference="c", actor="t", now=timezone.now())
    assert "Ended" in text_of(staff, f"/admin/billing/account/{office.account.pk}/")


PAGES = ("change-plan", "pause", "resume", "cancel", "reactivate", "withdraw", "coupon", "release")


def test_who_may_only_look_does_nothing(client: Client, office: Office, subscription: Subscription) -> None:
    addresses = {page: _url(subscription, page) for page in PAGES}
    for page, address in addresses.items():
        assert "/admin/login/" in client.get(address)["Location"], page
    client.force_login(_staff("sam", "view_subscription"))
    for page, address in addresses.items():
        answers = (client.get(address).status_code, client.post(address, _form(when="now")).status_code)
        assert (*answers, Subscription.objects.get().state) == (403, 403, "active"), page
    client.force_login(office.stella)
    for page in PAGES:
        assert client.get(f"{B}/0/{page}/").status_code == 404, page
    assert changes.When.NOW == "now"
