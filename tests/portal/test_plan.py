"""One's own plan: how it stands, and what is done to it in a step."""

import copy
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.formats import date_format

from billing.accounts.ids import encode
from billing.accounts.models import Account, Role
from billing.catalog.models import Coupon
from billing.invoicing.models import Issuer
from billing.payments import collecting, credit_notes, disputes
from billing.payments.gateways.contract import DisputeReport
from billing.payments.models import Payment
from billing.subscriptions.followup import payment_news
from billing.subscriptions.lifecycle import changes, pause_cancel, subscribing
from billing.subscriptions.models import Subscription, SubscriptionChange
from billing.wording.amounts import MINUS
from tests.factories import make_account, make_issuer, make_member, make_pack, make_plan
from tests.payments import makers as cards
from tests.portal.conftest import MAX_QUERIES, BuildOnce, Stage
from tests.portal.shop import make_card, sign_in_as, text_of


@pytest.fixture
def url(stage: Stage) -> str:
    return f"{stage.url}/plan"


def _subscribe(stage: Stage) -> Subscription:
    """Alice's subscription, five days old and paid: 10,000 credits and three seats for 49.00 a month, and one more."""
    make_issuer()
    make_pack()
    team = make_plan(
        "team", prices={"USD": {"fee": "49", "seat_price": "9"}}, seats_included=3, included_credits=Decimal(10_000)
    )
    since = stage.now - timedelta(days=5)
    card = make_card(stage, make_default=True)
    made = subscribing.subscribe(
        account_id=stage.account.pk, plan_version_id=team.pk, seats=4, method_id=card.pk, reference="test",
        actor=f"user:{stage.alice.pk}", now=since,
    )  # fmt: skip
    _work(since)
    made.refresh_from_db()
    return made


@pytest.fixture(scope="module")
def shared_subscription(build_once: BuildOnce, scene: Stage) -> Subscription:
    return build_once(lambda: _subscribe(scene))


@pytest.fixture(autouse=True)
def subscription(shared_subscription: Subscription, stage: Stage) -> Subscription:
    return copy.deepcopy(shared_subscription)


@pytest.fixture
def bare(stage: Stage) -> str:
    """An account of alice's that has no plan."""
    account = make_account("bare", now=stage.now)
    make_member(account, stage.alice, Role.OWNER, now=stage.now)
    return f"/a/{encode('acc', account.pk)}/plan"


def _work(now: Any) -> None:
    """What workers do."""
    collecting.run_due(now=now, limit=10)
    payment_news.follow_up(now=now, limit=10)


def _act(act: str, **fields: Any) -> dict[str, Any]:
    return {"act": act, "token": str(uuid.uuid4()), **fields}


def test_without_a_plan_it_leads_to_the_plans(alice: Client, bare: str) -> None:
    page = text_of(alice.get(bare))
    assert "You have no plan yet" in page
    assert "See the plans" in page


def test_it_says_what_one_has_and_what_comes(alice: Client, stage: Stage, url: str) -> None:
    page = text_of(alice.get(url))
    assert "Your plan Active Change plan" in page
    assert "Team $49.00 a month" in page
    assert "Time day 6 of" in page
    assert "10,000 credits each month" in page
    assert "Seats 4, 3 of them included" in page
    assert "Paid with Visa •••• 4242" in page
    assert "Renews" in page


def test_viewers_see_the_plan_and_change_nothing(client: Client, stage: Stage, url: str) -> None:
    sign_in_as(client, stage, "viewer")
    page = text_of(client.get(url))
    assert "Team $49.00 a month" in page
    assert "An owner or admin of this account can change the plan." in page
    assert "Redeem" not in page
    for address in (url, f"{url}/pause", f"{url}/cancel", f"{url}/seats"):
        assert client.post(address, _act("resume", when="now")).status_code == 403
    assert Subscription.objects.get().state == "active"
    assert client.get(f"{url}/history").status_code == 200


def test_nobody_else_gets_at_it(client: Client, stage: Stage, url: str) -> None:
    pages = (url, f"{url}/history", f"{url}/pause", f"{url}/cancel", f"{url}/seats")
    for page in pages:
        assert client.get(page)["Location"].startswith("/login")
    client.force_login(stage.mallory)
    for page in pages:
        assert client.get(page).status_code == 404
    assert client.post(f"{url}/cancel", _act("", when="now")).status_code == 404
    assert Subscription.objects.get().state == "active"


def test_pausing_is_confirmed_and_taken_up_again(alice: Client, stage: Stage, url: str) -> None:
    assert "It does not renew: nothing is charged and no credits come." in text_of(alice.get(f"{url}/pause"))
    page = text_of(alice.post(f"{url}/pause", {"token": str(uuid.uuid4())}, follow=True))
    assert "Your plan is paused." in page
    assert "resume before then and nothing changes" in page
    assert "Only an active plan" in text_of(alice.get(f"{url}/pause"))
    page = text_of(alice.post(url, _act("resume"), follow=True))
    assert "Team goes on." in page
    assert Subscription.objects.get().state == "active"


def test_cancelling_lets_it_run_out_and_can_be_taken_back(alice: Client, stage: Stage, url: str) -> None:
    page = text_of(alice.get(f"{url}/cancel"))
    assert "pause it or choose a smaller plan" in page
    assert "Until then you can take it back with one click." in page
    form = {"token": str(uuid.uuid4()), "when": "period_end", "reason": "Too dear"}
    page = text_of(alice.post(f"{url}/cancel", form, follow=True))
    assert "Team is cancelled and runs out." in page
    assert "Keep Team" in page
    assert Subscription.objects.get().cancel_reason == "Too dear"
    assert "This plan is cancelled already." in text_of(alice.get(f"{url}/cancel"))
    page = text_of(alice.post(url, _act("reactivate"), follow=True))
    assert "You keep Team: it renews again." in page
    assert Subscription.objects.get().state == "active"


def test_cancelling_today_ends_it(alice: Client, stage: Stage, url: str) -> None:
    page = text_of(alice.post(f"{url}/cancel", {"token": str(uuid.uuid4()), "when": "now"}, follow=True))
    assert "Team has ended." in page
    assert "Team ended on" in page
    assert Subscription.objects.get().state == "ended"
    for address in ("pause", "cancel", "seats"):
        assert alice.get(f"{url}/{address}").status_code == 404


def test_only_a_plan_with_overage_speaks_of_usage_that_is_charged(alice: Client, stage: Stage, url: str) -> None:
    told = text_of(alice.get(f"{url}/cancel")) + text_of(alice.get(f"{url}/next-invoice"))
    assert "Nothing more is charged." in told
    assert "beyond your credits" not in told
    overage = [{"up_to": None, "price": "12"}]
    metered = make_plan("metered", prices={"USD": {"fee": "49", "overage_tiers": overage}}, policy="overage")
    Subscription.objects.update(plan_version=metered)
    assert "except usage beyond your credits" in text_of(alice.get(f"{url}/cancel"))
    assert "What is used beyond your credits until then is added." in text_of(alice.get(f"{url}/next-invoice"))
    # A trial that has credits charges nothing beyond them.
    tried = make_plan("tried", prices={"USD": {"fee": "49", "overage_tiers": overage}}, policy="overage",
        trial_days=14, trial_credits=Decimal(5))  # fmt: skip
    Subscription.objects.update(plan_version=tried, period_number=0, state="trialing", trial_ends_at=stage.now)
    assert "except usage beyond" not in text_of(alice.get(f"{url}/cancel"))


@pytest.mark.parametrize("fields", [{"when": "never"}, {"when": ""}, {"when": "now", "token": "x"}])
def test_a_cancellation_that_makes_no_sense_does_nothing(
    alice: Client, stage: Stage, url: str, fields: dict[str, str]
) -> None:
    assert alice.post(f"{url}/cancel", {"token": str(uuid.uuid4()), **fields}).status_code == 422
    assert Subscription.objects.get().state == "active"


def test_what_is_not_possible_any_more_is_said(alice: Client, stage: Stage, url: str) -> None:
    for act in ("resume", "reactivate", "withdraw"):
        assert "That is not possible any more." in text_of(alice.post(url, _act(act), follow=True))
    assert "not possible any more" in text_of(alice.post(url, {"act": "resume"}, follow=True))
    alice.post(url, _act("nonsense"))
    assert Subscription.objects.get().state == "active"


def test_a_renewal_that_is_due_is_waited_for(alice: Client, stage: Stage, url: str) -> None:
    Subscription.objects.update(next_due_at=stage.now - timedelta(minutes=1))
    page = text_of(alice.post(f"{url}/pause", {"token": str(uuid.uuid4())}, follow=True))
    assert "Your plan is being renewed just now." in page
    assert Subscription.objects.get().state == "active"


def test_a_coupon_counts_from_the_next_invoice(alice: Client, stage: Stage, url: str) -> None:
    Coupon.objects.create(code="SPRING", name="Spring", percent=10, duration_periods=3, created_at=stage.now)
    page = text_of(alice.post(url, _act("coupon", code=" spring "), follow=True))
    assert "it counts from your next invoice on" in page
    assert "SPRING 10% off the next 3 periods" in page
    refused = alice.post(url, _act("coupon", code="SPRING"))
    assert refused.status_code == 422
    assert "You have redeemed this coupon already." in text_of(refused)


@pytest.mark.parametrize(("code", "complaint"), [("NONE", "There is no such coupon."), ("", "This field is required.")])
def test_a_coupon_that_is_none_is_refused(alice: Client, stage: Stage, url: str, code: str, complaint: str) -> None:
    refused = alice.post(url, _act("coupon", code=code))
    assert refused.status_code == 422
    assert complaint in text_of(refused)
    assert not Subscription.objects.get().redemptions.exists()


def test_a_planned_change_is_shown_and_withdrawn(
    alice: Client, stage: Stage, subscription: Subscription, url: str
) -> None:
    small = make_plan("small", prices={"USD": {"fee": "9"}})
    changes.change(
        subscription_id=subscription.pk, plan_version_id=small.pk, reference="down", actor="test", now=timezone.now()
    )
    assert "Changes to Small on" in text_of(alice.get(url))
    said = "The change to Small planned for"
    for page in (f"{url}/pause", f"{url}/cancel"):
        assert said in text_of(alice.get(page))
    large = make_plan("large", prices={"USD": {"fee": "900"}})
    day = date_format(timezone.localtime(subscription.period_ends_at, ZoneInfo(stage.account.time_zone)), "j F Y")
    choice = text_of(alice.get(f"{url}s/{large.plan.key}", follow=True))
    assert f"{said} {day} will be withdrawn." in choice
    page = text_of(alice.post(url, _act("withdraw"), follow=True))
    assert "The planned change is withdrawn." in page
    assert "Changes to Small" not in page


def test_an_overdue_invoice_says_what_happens_when(
    alice: Client, stage: Stage, subscription: Subscription, url: str
) -> None:
    make_card(stage, cards.DECLINE)
    declined = stage.account.payment_methods.get(last4="0002")
    Subscription.objects.update(method=declined)
    changes.change(
        subscription_id=subscription.pk, seats=9, when="now", reference="more", actor="test", now=timezone.now()
    )
    _work(timezone.now())
    _work(timezone.now())
    page = text_of(alice.get(url))
    assert "Unpaid" in page
    assert "is unpaid: $" in page
    assert "We charge the card again" in page
    assert "The subscription ends" in page
    assert "Change the card" in page


def test_what_is_overdue_is_paid_before_another_plan_is_chosen(alice: Client, stage: Stage, url: str) -> None:
    make_card(stage)
    large = make_plan("large", prices={"USD": {"fee": "900.00"}})
    Subscription.objects.update(state="past_due", past_due_at=timezone.now())
    page = alice.get(f"{stage.url}/plans/large?form={uuid.uuid4()}")
    assert "pay it first, or let the change come with the next period" in text_of(page)
    assert not Subscription.objects.filter(plan_version=large).exists()


def test_a_parked_renewal_is_ours_to_mend(alice: Client, stage: Stage, url: str) -> None:
    Subscription.objects.update(parked_at=stage.now, problem="KeyError: secret")
    page = text_of(alice.get(url))
    assert "We are looking into your renewal" in page
    assert "secret" not in page


def test_history_tells_everything_that_happened(
    alice: Client, stage: Stage, subscription: Subscription, url: str, bare: str
) -> None:
    assert "Nothing has happened yet" in text_of(alice.get(f"{bare}/history"))
    pause_cancel.pause(subscription_id=subscription.pk, reference="p", actor="test", now=timezone.now())
    page = text_of(alice.get(f"{url}/history"))
    assert "Subscribed to Team 4 seats" in page
    assert page.index("Paused") < page.index("Subscribed to Team")


def test_history_says_why_credits_are_gone_and_that_they_came_again(alice: Client, stage: Stage, url: str) -> None:
    payment = Payment.objects.get()

    def tell(state: str) -> str:
        report = DisputeReport(payment.idempotency_key, "du_1", payment.amount, "USD", "fraudulent", state, None)
        disputes.record(payment_id=payment.pk, report=report, now=stage.now)
        _work(stage.now)
        return text_of(alice.get(f"{url}/history"))

    assert "Payment disputed 10,000 credits taken back" in tell("open")
    assert "Disputed payment came back 10,000 credits given back" in tell("won")


def test_a_long_history_has_pages(
    alice: Client, stage: Stage, subscription: Subscription, url: str, django_assert_max_num_queries: Any
) -> None:
    SubscriptionChange.objects.bulk_create(
        SubscriptionChange(subscription=subscription, act="renew", reference=f"r:{number}", at=stage.now)
        for number in range(30)
    )
    with django_assert_max_num_queries(MAX_QUERIES):
        response = alice.get(f"{url}/history")
    assert "Older" in text_of(response)
    last = response.context["changes"][-1].pk
    older = text_of(alice.get(f"{url}/history?before={last}"))
    assert "Subscribed to Team" in older
    assert "Newer" in older
    assert alice.get(f"{url}/history?before=x").status_code == 200


@pytest.mark.parametrize("state", ["active", "trialing", "past_due", "paused", "cancelled"])
def test_the_page_reads_little(
    alice: Client, stage: Stage, url: str, state: str, django_assert_max_num_queries: Any
) -> None:
    facts = {"state": state, "trial_ends_at": stage.now + timedelta(days=3), "paused_at": stage.now}
    Subscription.objects.update(**facts)
    alice.get(url)
    with django_assert_max_num_queries(MAX_QUERIES):
        assert alice.get(url).status_code == 200


def test_the_next_invoice_is_told_as_things_stand(
    alice: Client, stage: Stage, subscription: Subscription, url: str, bare: str
) -> None:
    assert alice.get(f"{bare}/next-invoice")["Location"] == bare
    Coupon.objects.create(code="SPRING", name="Spring", percent=10, created_at=stage.now)
    pause_cancel.redeem(subscription_id=subscription.pk, code="SPRING", reference="c", actor="test", now=timezone.now())
    # 49 + 9 = 58, less 5.80: 52.20, with 9.92 tax.
    for headers in ({}, {"HX-Request": "true"}):
        page = text_of(alice.get(f"{url}/next-invoice", headers=headers))
        assert "Team: 1 extra seat $9.00" in page
        assert "VAT 19% $9.92 Total as of today $62.12" in page
    pause_cancel.cancel(subscription_id=subscription.pk, reference="x", actor="test", now=timezone.now())
    assert "nothing will be invoiced" in text_of(alice.get(f"{url}/next-invoice"))


def test_prices_with_tax_in_them_add_up_on_the_next_invoice(alice: Client, stage: Stage, bare: str) -> None:
    gross = make_plan("gross", prices={"USD": {"fee": "49"}}, prices_include_tax=True)
    subscribing.subscribe(
        account_id=Account.objects.get(external_id="bare").pk, plan_version_id=gross.pk, seats=0, collection="manual",
        reference="bare", actor="test", now=stage.now,
    )  # fmt: skip
    # 49.00 with 19 % in it are 41.18 and 7.82.
    assert "Gross $41.18 VAT 19% $7.82 Total as of today $49.00" in text_of(alice.get(f"{bare}/next-invoice"))


def test_invoice_credit_pays_of_the_next_invoice(alice: Client, subscription: Subscription, url: str) -> None:
    credit_notes.credit(
        invoice_id=subscription.account.invoices.get().pk, amount=Decimal(10), refund_to="balance", reason="x",
        actor="t", reference="n:1", now=timezone.now(),
    )  # fmt: skip
    page = text_of(alice.get(f"{url}/next-invoice"))
    assert f"Paid from your invoice credit {MINUS}$10.00 To be paid $59.02" in page


def test_without_an_issuer_the_next_invoice_cannot_be_told(alice: Client, stage: Stage, url: str) -> None:
    Issuer.objects.update(is_default=False)
    assert "It cannot be worked out at the moment." in text_of(alice.get(f"{url}/next-invoice"))


def test_the_next_invoice_is_the_accounts_own(client: Client, stage: Stage, url: str) -> None:
    assert client.get(f"{url}/next-invoice")["Location"].startswith("/login")
    client.force_login(stage.mallory)
    assert client.get(f"{url}/next-invoice").status_code == 404
    sign_in_as(client, stage, "viewer")
    assert "Total as of today" in text_of(client.get(f"{url}/next-invoice"))


def test_help_says_what_the_plan_lets_roll_over(alice: Client, subscription: Subscription, url: str) -> None:
    assert "No. Credits are good until they expire" in text_of(alice.get(url.replace("/plan", "/help")))
    plan = make_plan(
        "rolling", prices={"USD": {"fee": "60"}}, included_credits=Decimal(100), rollover="share",
        rollover_percent=Decimal(25), rollover_periods=1,
    )  # fmt: skip
    Subscription.objects.filter(pk=subscription.pk).update(plan_version=plan)
    page = text_of(alice.get(url.replace("/plan", "/help")))
    assert "unused credits carry over: up to 25% of what is included, 1 time." in page
    assert "No. Credits are good until they expire" not in page
