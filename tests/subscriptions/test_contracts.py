from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import Plan, PlanVersion
from billing.subscriptions.agreement import contracts
from billing.subscriptions.agreement.contracts import Agreed, TermsInvalid, TermsOverlap
from billing.subscriptions.models import ContractTerms, Subscription, SubscriptionChange
from tests.factories import make_account, make_plan

pytestmark = pytest.mark.django_db

D = Decimal
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MONTH = timedelta(days=30)


@pytest.fixture
def acme() -> Account:
    """The account that terms are agreed with, for the only plan unless told otherwise."""
    make_plan(prices={currency: {"fee": "49"} for currency in ("USD", "EUR", "JPY")})
    return make_account("acme")


def agree(
    account: Account, starts_at: datetime = NOW, ends_at: datetime | None = None, **fields: object
) -> ContractTerms:
    """Terms of the only plan in dollars with a fee of 39.00, unless told otherwise."""
    currency = str(fields.pop("currency", "USD"))
    plan = fields.pop("plan", None) or Plan.objects.get()
    agreed = Agreed(plan.pk, currency, **(fields or {"fee": D(39)}))  # type: ignore[arg-type]
    return contracts.agree(
        account_id=account.pk, agreed=agreed, starts_at=starts_at, ends_at=ends_at, note="Order 7", actor="user:1",
        now=NOW,
    )  # fmt: skip


def spans(account: Account) -> list[tuple[datetime, datetime | None]]:
    """When each of the account's terms holds, the latest first."""
    return list(contracts.list_terms(account.pk).values_list("starts_at", "ends_at"))


def test_terms_keep_what_was_agreed_and_leave_the_rest_to_the_plan(acme):
    terms = agree(acme, fee=D(39), included_credits=D(5000), discount_percent=D("12.5"))
    terms.refresh_from_db()
    assert (terms.fee, terms.included_credits, terms.discount_percent) == (39, 5000, D("12.5"))
    assert (terms.seat_price, terms.minimum, terms.seats_included, terms.overage_tiers) == (None,) * 4
    assert (terms.note, terms.actor, terms.created_at) == ("Order 7", "user:1", NOW)


def test_new_terms_end_the_open_ones_where_they_begin(acme):
    agree(acme)
    agree(acme, NOW + MONTH)
    assert spans(acme) == [(NOW + MONTH, None), (NOW, NOW + MONTH)]


def test_terms_with_an_end_may_stand_before_open_ones(acme):
    agree(acme, NOW + 2 * MONTH)
    agree(acme, NOW, NOW + 2 * MONTH)
    assert spans(acme) == [(NOW + 2 * MONTH, None), (NOW, NOW + 2 * MONTH)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, 2), (1, 3)),
        ((0, 2), (1, None)),
        ((1, None), (0, 2)),
        ((1, None), (1, None)),
        ((1, 2), (0, None)),
    ],
)
def test_terms_of_the_same_time_are_refused(acme, first, second):
    def at(months: int | None) -> datetime | None:
        return None if months is None else NOW + months * MONTH

    kept = agree(acme, at(first[0]), at(first[1]))
    with pytest.raises(TermsOverlap) as refusal:
        agree(acme, at(second[0]), at(second[1]))
    assert refusal.value.other == kept
    assert spans(acme) == [(at(first[0]), at(first[1]))]


def test_terms_of_another_currency_account_or_plan_are_apart(acme):
    team = Plan.objects.get()
    for account, of in ((acme, {}), (acme, {"currency": "EUR"}), (make_account("evil"), {})):
        agree(account, plan=team, fee=D(39), **of)
    agree(acme, plan=make_plan("scale").plan, fee=D(39))
    assert ContractTerms.objects.filter(ends_at=None).count() == 4


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"fee": D("-0.01")}, "fee"),
        ({"fee": D("1.001")}, "fee"),
        ({"seat_price": D("-1")}, "seat_price"),
        ({"minimum": D("-1")}, "minimum"),
        ({"included_credits": D("-1")}, "included_credits"),
        ({"discount_percent": D("100.001")}, "discount_percent"),
        ({"discount_percent": D("-1")}, "discount_percent"),
        ({"overage_tiers": []}, "overage_tiers"),
        ({"overage_tiers": [{"up_to": "5", "price": "1"}]}, "overage_tiers"),
        ({"overage_tiers": [{"price": "x"}]}, "overage_tiers"),
        ({"fee": None}, ""),
        ({"currency": "JPY", "fee": D("1.5")}, "fee"),
        ({"currency": "GBP", "fee": D(1)}, "plan"),
    ],
)
def test_terms_that_make_no_sense_are_refused(acme, fields, field):
    with pytest.raises(TermsInvalid) as refusal:
        agree(acme, **fields)
    assert refusal.value.field == field
    assert spans(acme) == []


def test_terms_end_after_they_begin(acme):
    with pytest.raises(TermsInvalid, match="end after"):
        agree(acme, NOW, NOW)
    terms = agree(acme)
    with pytest.raises(TermsInvalid, match="end after"):
        contracts.end(terms_id=terms.pk, at=NOW, now=NOW)
    assert contracts.end(terms_id=terms.pk, at=NOW + MONTH, now=NOW).ends_at == NOW + MONTH
    assert contracts.end(terms_id=terms.pk, at=NOW + 2 * MONTH, now=NOW).ends_at == NOW + MONTH
    assert spans(acme) == [(NOW, NOW + MONTH)]


def test_a_subscriptions_history_tells_of_terms_of_its_plan_and_currency(acme):
    subscription = Subscription.objects.create(
        account=acme, reference="test", plan_version=PlanVersion.objects.get(), currency="USD", state="active",
        anchor_on=NOW.date(), period_starts_at=NOW, period_ends_at=NOW + MONTH, started_at=NOW, created_at=NOW,
    )  # fmt: skip
    agree(acme, currency="EUR", fee=D(39))
    agree(acme, plan=make_plan("scale").plan, fee=D(39))
    assert not SubscriptionChange.objects.exists()
    terms = agree(acme, plan=subscription.plan_version.plan, fee=D(39))
    change = SubscriptionChange.objects.get()
    assert (change.subscription, change.act, change.reference) == (subscription, "contract", f"contract:{terms.pk}")
    assert (change.at, change.actor, change.details) == (NOW, "user:1", {"terms": terms.pk, "note": "Order 7"})


def test_terms_never_reach_into_what_has_begun(acme):
    terms = agree(acme, NOW - MONTH)
    assert terms.starts_at == NOW
    assert contracts.end(terms_id=terms.pk, at=NOW, now=NOW + MONTH).ends_at == NOW + MONTH
