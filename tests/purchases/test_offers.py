from datetime import date
from decimal import Decimal

import pytest

from billing.invoicing import issuing
from billing.ledger import pools
from billing.purchases import offers
from tests.factories import NOW, make_account, make_issuer, make_pack

pytestmark = pytest.mark.django_db
TODAY = date(2026, 3, 1)


@pytest.fixture
def account():
    return make_account("alice-org")


def keys(account):
    return [offer.key for offer in offers.list_offers(account=account)]


def test_tiers_show_the_price_per_credit_and_what_it_saves(account):
    make_pack()
    (offer,) = offers.list_offers(account=account)
    assert offer.tiers == (
        offers.Tier(Decimal(1_000), Decimal("0.12"), 0),
        offers.Tier(Decimal(10_000), Decimal("0.10"), 16),
        offers.Tier(Decimal(100_000), Decimal("0.07"), 41),
    )


def test_packs_in_another_currency_are_not_offered(account):
    make_pack(currency="EUR")
    assert keys(account) == []


def test_packs_that_are_switched_off_or_have_no_price_are_not_offered(account):
    make_pack("old", is_active=False)
    make_pack("unpriced").tiers.all().delete()
    assert keys(account) == []


@pytest.mark.parametrize(
    ("segment", "seen"), [("startup", ["boost", "credits"]), ("growth", ["credits"]), ("", ["credits"])]
)
def test_a_targeted_pack_is_offered_to_its_segment_only(account, segment, seen):
    make_pack("credits")
    boost = make_pack("boost", prices={"500": "0.08"}, target_segments=["startup", "school"])
    account.segment_override = segment
    assert keys(account) == seen
    if "boost" not in seen:
        with pytest.raises(offers.PackNotForSale):
            offers.get_offer(account=account, pack_id=boost.pk)


def test_offers_cost_one_query_however_many_there_are(account, django_assert_num_queries):
    for number in range(5):
        make_pack(f"pack-{number}")
    with django_assert_num_queries(1):
        assert len(offers.list_offers(account=account)) == 5


def quote(account, credits, pack=None, **options):
    pack = pack or make_pack()
    pool_id = options.pop("pool_id", pools.get_main_pool(account.pk).pk)
    return offers.quote(account=account, pack_id=pack.pk, credits=Decimal(credits), pool_id=pool_id, on=TODAY)


def test_a_quote_says_price_saving_tax_total_and_validity(account):
    make_issuer()
    cost = quote(account, 10_000)
    assert (cost.unit_price, cost.saving_percent, cost.subtotal) == (Decimal("0.10"), 16, Decimal("1000.00"))
    assert (cost.tax_name, cost.tax_percent, cost.tax_total) == ("VAT", 19, Decimal("190.00"))
    assert (cost.total, cost.currency, cost.validity_days) == (Decimal("1190.00"), "USD", 365)


def test_a_quote_is_what_the_invoice_says(account):
    make_issuer()
    pack, pool = make_pack(prices={"1000": "0.123456789"}, step_credits=1), pools.get_main_pool(account.pk)
    cost = quote(account, 1_003, pack)
    offer = offers.get_offer(account=account, pack_id=pack.pk)
    draft = offers.line_draft(offer, account=account, credits=Decimal(1_003), pool_id=pool.pk)
    invoice = issuing.issue(account_id=account.pk, reference="x", currency="USD", lines=[draft], now=NOW)
    assert (cost.subtotal, cost.tax_total, cost.total) == (invoice.subtotal, invoice.tax_total, invoice.total)
    line = invoice.lines.get()
    assert (line.description, line.credits, line.pack) == ("Credits: 1,003 credits", 1_003, pack)


@pytest.mark.parametrize("credits", ["999", "1000.5", "1500", "1000001", "1001000", "0", "-1000"])
def test_an_amount_outside_the_packs_bounds_and_steps_is_not_offered(account, credits):
    make_issuer()
    with pytest.raises(offers.AmountNotOffered) as refusal:
        quote(account, credits)
    assert (refusal.value.minimum, refusal.value.maximum, refusal.value.step) == (1_000, 1_000_000, 1_000)


def test_an_amount_below_the_first_tier_is_not_offered(account):
    make_issuer()
    with pytest.raises(offers.AmountNotOffered):
        quote(account, 1_000, make_pack(min_credits=500, step_credits=500, prices={"2000": "0.1"}))


def test_a_pool_of_another_account_is_not_found(account):
    make_issuer()
    with pytest.raises(offers.PoolNotFound):
        quote(account, 1_000, pool_id=pools.get_main_pool(make_account("mallory-org").pk).pk)


def test_without_an_issuer_there_is_no_quote(account):
    with pytest.raises(issuing.NoIssuer):
        quote(account, 1_000)


def test_a_price_with_tax_in_it_is_what_is_paid(account):
    """1,000 at 0.119 are 119.00, 19.00 of which is tax."""
    make_issuer()
    pack = make_pack("gross", prices={"1000": "0.119"}, prices_include_tax=True)
    pool = account.pools.get()
    cost = offers.quote(account=account, pack_id=pack.pk, credits=Decimal(1000), pool_id=pool.pk, on=NOW.date())
    assert (cost.unit_price, cost.subtotal, cost.tax_total, cost.total) == (Decimal("0.119"), 100, 19, 119)
    draft = offers.line_draft(cost.offer, account=account, credits=Decimal(1000), pool_id=pool.pk)
    invoice = issuing.issue(account_id=account.pk, reference="gross", currency="USD", lines=[draft], now=NOW)
    assert (invoice.total, invoice.lines.get().cost_basis) == (119, Decimal("0.1"))
