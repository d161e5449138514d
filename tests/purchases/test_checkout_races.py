"""The double-click storm: many equal posts of one form at the same moment, on real PostgreSQL."""

import operator
import uuid

import pytest
from django.db import IntegrityError

from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.ledger.models import CreditGrant
from billing.metering import verification
from billing.notifications.models import Notification
from billing.payments import paying
from billing.payments.gateways import sandbox_cards
from billing.payments.gateways.contract import Outcome
from billing.payments.models import Payment
from billing.payments.sandbox_models import SandboxCharge
from billing.purchases import checkout
from billing.purchases.models import Purchase
from tests.factories import NOW, make_account, make_issuer, make_pack
from tests.ledger.racing import race
from tests.payments.makers import make_card
from tests.purchases.makers import terms

pytestmark = pytest.mark.django_db(transaction=True)

BEHAVIOUR = operator.attrgetter("behaviour")
GRANTED_AT_ONCE = {"success", "off_session", "refund_fails", "wears_out", "disputed"}


@pytest.fixture
def pool(transactional_db):
    """The main pool of alice's account, committed for all threads to see."""
    make_issuer()
    return pools.get_main_pool(make_account("alice-org").pk)


def storm(asked, posts=10, expected=()):
    seen = []

    def post():
        seen.append(checkout.buy(**asked).pk)

    return race([post] * posts, expected=expected), seen


@pytest.mark.parametrize("card", {card.behaviour: card for card in sandbox_cards.CARDS}.values(), ids=BEHAVIOUR)
def test_ten_equal_posts_are_one_charge_and_one_grant_for_each_outcome(pool, card):
    method = make_card(pool.account, card.number, cvc="1234" if card.brand == "American Express" else "123")
    outcomes, seen = storm(terms(pool, make_pack(), method_id=method.pk))
    assert outcomes == {"done": 10}
    assert len(set(seen)) == 1
    assert [Purchase.objects.count(), Invoice.objects.count(), Payment.objects.count()] == [1, 1, 1]
    assert SandboxCharge.objects.count() == 1
    granted = 1 if card.behaviour in GRANTED_AT_ONCE else 0
    assert CreditGrant.objects.count() == granted
    assert Notification.objects.filter(kind="receipt").count() == granted
    assert Invoice.objects.get().number == "INV-000001"


def test_ten_posts_of_two_forms_with_one_token_are_one_purchase(pool):
    pack = make_pack()
    asked = terms(pool, pack)
    other = {**asked, "credits": asked["credits"] * 2}
    posts = [lambda each=each: checkout.buy(**each) for each in (asked, other) * 5]
    outcomes = race(posts, expected=(checkout.TokenConflict,))
    assert outcomes == {"done": 5, "TokenConflict": 5}
    assert [Purchase.objects.count(), SandboxCharge.objects.count(), CreditGrant.objects.count()] == [1, 1, 1]


def test_an_outcome_reported_ten_times_at_once_grants_once(pool):
    purchase = checkout.buy(**terms(pool, make_pack(), method_id=make_card(pool.account, "4000000000001018").pk))
    payment = Payment.objects.get()
    succeeded = Outcome("succeeded", payment.gateway_reference)
    race([lambda: paying.record(payment_id=payment.pk, outcome=succeeded, now=NOW)] * 10)
    assert checkout.standing_of(Purchase.objects.get(pk=purchase.pk)).state == "paid"
    assert CreditGrant.objects.count() == Notification.objects.filter(kind="receipt").count() == 1


def test_without_the_look_at_who_was_first_the_database_refuses_the_rest(pool, monkeypatch):
    """The positive control: the posts do meet, and the unique token is the last word."""
    monkeypatch.setattr(checkout, "_find", lambda *_: None)
    outcomes, _ = storm(terms(pool, make_pack()), expected=(IntegrityError,))
    assert outcomes == {"done": 1, "IntegrityError": 9}
    assert [Purchase.objects.count(), SandboxCharge.objects.count(), CreditGrant.objects.count()] == [1, 1, 1]


def test_posts_without_a_common_token_charge_ten_times(pool):
    """The other control: ten at once do get through where nothing holds them."""
    asked = terms(pool, make_pack())
    race([lambda: checkout.buy(**{**asked, "token": uuid.uuid4()})] * 10)
    assert SandboxCharge.objects.count() == CreditGrant.objects.count() == 10
    numbers = sorted(Invoice.objects.values_list("number", flat=True))
    assert numbers == [f"INV-{number:06d}" for number in range(1, 11)]
    assert verification.verify(now=NOW).findings == []
