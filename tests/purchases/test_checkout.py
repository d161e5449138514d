import uuid
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.invoicing import issuing
from billing.invoicing.models import Invoice, Issuer
from billing.ledger import pools
from billing.ledger.models import CreditGrant
from billing.payments import methods, paying
from billing.payments.models import Payment
from billing.payments.sandbox_models import SandboxCharge
from billing.purchases import abandoned, checkout, offers
from billing.purchases.models import Purchase
from tests.factories import NOW, make_account, make_pack, make_user
from tests.payments import makers
from tests.payments.makers import make_card
from tests.purchases.makers import TOKEN, buy, terms

pytestmark = pytest.mark.django_db


def written():
    return [model.objects.count() for model in (Purchase, Invoice, Payment, SandboxCharge, CreditGrant)]


def test_a_pack_is_paid_for_and_its_credits_are_there(pool, pack):
    alice = make_user("alice")
    purchase = buy(pool, pack, buyer_id=alice.pk)
    assert (purchase.credits, purchase.buyer, purchase.created_at) == (1_000, alice, NOW)
    assert (purchase.invoice.state, purchase.invoice.total) == ("paid", Decimal("142.80"))
    lot = CreditGrant.objects.get()
    assert (lot.pool, lot.kind, lot.amount, lot.cost_basis, lot.currency) == (
        pool, "purchase", 1_000, Decimal("0.12"), "USD",
    )  # fmt: skip
    assert lot.expires_at == NOW + timedelta(days=365)
    assert SandboxCharge.objects.get().amount == Decimal("142.80")
    assert checkout.standing_of(purchase).state == "paid"


def test_the_credits_go_to_the_pool_that_was_chosen(pool, pack):
    team = pools.open_pool(account=pool.account, key="research", name="Research", now=NOW)
    buy(team, pack)
    team.refresh_from_db()
    assert (team.balance, pools.get_main_pool(pool.account_id).balance) == (1_000, 0)


def test_credits_of_a_pack_without_validity_never_expire(pool):
    buy(pool, make_pack(validity_days=None))
    assert CreditGrant.objects.get().expires_at is None


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (makers.SUCCESS, "paid"), (makers.DECLINE, "failed"), (makers.INSUFFICIENT, "failed"),
        (makers.EXPIRED, "failed"), (makers.ACTION, "requires_action"), (makers.SLOW, "processing"),
        (makers.SLOW_DECLINE, "processing"), (makers.LOST_ANSWER, "unknown"), (makers.BLACKOUT, "unknown"),
        (makers.LATE, "processing"), (makers.VERY_LATE, "processing"),
    ],
)  # fmt: skip
def test_the_same_form_sent_again_charges_nothing_more_whatever_came_of_it(pool, pack, number, state):
    asked = terms(pool, pack, method_id=make_card(pool.account, number).pk)
    first = checkout.buy(**asked)
    assert checkout.standing_of(first).state == state
    before = written()
    again = checkout.buy(**{**asked, "now": NOW + timedelta(minutes=1)})
    assert again == first
    assert checkout.standing_of(again).state == state
    assert written() == before == [1, 1, 1, 1, 1 if state == "paid" else 0]


def test_a_purchase_that_was_declined_can_be_paid_later(pool, pack):
    purchase = buy(pool, pack, token=TOKEN, method_id=make_card(pool.account, makers.DECLINE).pk)
    assert (purchase.invoice.state, pool.grants.count()) == ("open", 0)
    card = make_card(pool.account)
    paying.pay(
        invoice_id=purchase.invoice_id, method_id=card.pk, key="pay:1", off_session=False, return_url="", now=NOW
    )
    standing = checkout.find_standing(account_id=pool.account_id, token=TOKEN)
    assert (standing.state, standing.payment.method, pool.grants.get().amount) == ("paid", card, 1_000)


def test_a_purchase_asks_for_no_transfer_which_would_come_when_it_is_void(pool, pack):
    Issuer.objects.update(iban="DE89370400440532013000", bic="COBADEFFXXX", bank_name="Bank")
    invoice = buy(pool, pack, method_id=make_card(pool.account, makers.DECLINE).pk).invoice
    assert {invoice.seller[name] for name in ("iban", "bic", "bank_name")} == {""}
    assert abandoned.void_due(now=invoice.due_at - timedelta(seconds=1), limit=9) == 0
    assert abandoned.void_due(now=invoice.due_at, limit=9) == 1


@pytest.mark.parametrize(
    "change", ["credits", "method_id", "pack_id", "pool_id", "account_id"],
)  # fmt: skip
def test_a_token_stands_for_one_purchase_only(pool, pack, change):
    asked = terms(pool, pack)
    checkout.buy(**asked)
    stranger = make_account("mallory-org")
    other = {
        "credits": Decimal(2_000),
        "method_id": make_card(pool.account).pk,
        "pack_id": make_pack("other").pk,
        "pool_id": pools.open_pool(account=pool.account, key="team", name="Team", now=NOW).pk,
        "account_id": stranger.pk,
    }
    if change == "account_id":
        other["pool_id"] = pools.get_main_pool(stranger.pk).pk
        other["method_id"] = make_card(stranger).pk
        asked = {**asked, "pool_id": other["pool_id"], "method_id": other["method_id"]}
    before = written()
    with pytest.raises(checkout.TokenConflict):
        checkout.buy(**{**asked, change: other[change]})
    assert written() == before


def test_a_repeat_is_told_by_what_it_says_not_by_how_it_is_written(pool, pack):
    asked = terms(pool, pack)
    assert checkout.buy(**asked) == checkout.buy(**{**asked, "credits": Decimal("1000.000000")})


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"credits": Decimal(1_500)}, offers.AmountNotOffered),
        ({"pack_id": 0}, offers.PackNotForSale),
        ({"pool_id": 0}, offers.PoolNotFound),
        ({"method_id": 0}, methods.MethodNotUsable),
    ],
)
def test_what_cannot_be_bought_leaves_no_trace(pool, pack, fields, refusal):
    asked = terms(pool, pack, **fields)
    before = written()
    with pytest.raises(refusal):
        checkout.buy(**asked)
    assert written() == before


def test_a_strangers_card_pays_nothing(pool, pack):
    card = make_card(make_account("mallory-org"))
    with pytest.raises(methods.MethodNotUsable):
        buy(pool, pack, method_id=card.pk)
    assert written() == [0] * 5


def test_without_an_issuer_nothing_is_sold(pack):
    account = make_account("early-org")
    with pytest.raises(issuing.NoIssuer):
        buy(pools.get_main_pool(account.pk), pack)
    assert written() == [0] * 5


def test_a_repeat_is_answered_even_after_the_pack_was_withdrawn(pool, pack):
    asked = terms(pool, pack)
    first = checkout.buy(**asked)
    pack.is_active = False
    pack.save()
    assert checkout.buy(**asked) == first


def test_what_costs_nothing_is_granted_without_a_payment(pool):
    purchase = buy(pool, make_pack(prices={"1000": "0"}), method_id=0)
    assert checkout.standing_of(purchase).state == "paid"
    assert (Payment.objects.count(), pool.grants.get().amount) == (0, 1_000)


def test_a_purchase_whose_buyer_died_before_the_gateway_heard_of_it_is_charged_once_by_the_repeat(pool, pack):
    asked = terms(pool, pack)
    placed = checkout.place(**{name: value for name, value in asked.items() if name != "return_url"})
    assert checkout.standing_of(placed).state == "processing"
    assert SandboxCharge.objects.count() == 0
    bought = checkout.buy(**asked)
    assert (bought, bought.invoice.state, SandboxCharge.objects.count()) == (placed, "paid", 1)


def test_how_a_purchase_stands_is_told_to_its_account_only(pool, pack):
    buy(pool, pack, token=TOKEN)
    assert checkout.find_standing(account_id=make_account("mallory-org").pk, token=TOKEN) is None
    assert checkout.find_standing(account_id=pool.account_id, token=uuid.uuid4()) is None
    with_invoice = checkout.find_standing(account_id=pool.account_id, token=TOKEN)
    assert with_invoice.invoice.number.startswith("INV-")


@pytest.mark.parametrize("state", ["void", "open"])
def test_a_standing_without_payment_follows_the_invoice(pool, pack, state):
    purchase = buy(pool, make_pack("free", prices={"1000": "0"}), method_id=0)
    purchase.invoice.state = state
    assert checkout.standing_of(purchase).state == state
