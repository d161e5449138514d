"""Staff pages of purchases, top-up rules and top-ups."""

from decimal import Decimal

import pytest
from django.test import Client

from billing.ledger import posting
from billing.ledger.models import CreditPool
from billing.purchases import topups
from billing.purchases.models import Purchase, TopUp, TopUpRule
from tests.admin.conftest import MAX_QUERIES, Office, text_of
from tests.factories import make_account, make_issuer, make_pack
from tests.payments import makers
from tests.payments.makers import make_card
from tests.purchases.makers import buy, make_rule

BILLING = "/admin/billing"


@pytest.fixture
def bought(office: Office) -> Purchase:
    make_issuer()
    card = make_card(office.account, now=office.now)
    pack = make_pack(name="Credits <b>cheap</b>")
    return buy(office.pool, pack, method_id=card.pk, buyer_id=office.alice.pk, now=office.now)


@pytest.fixture
def rule(office: Office, bought: Purchase) -> TopUpRule:
    """Of a pool of its own, whose card is declined."""
    pool = CreditPool.objects.create(
        account=office.account, key="team", name="Team <i>x</i>", kind="team", created_at=office.now,
        last_posted_at=office.now, cycle_starts_at=office.pool.cycle_starts_at, cycle_ends_at=office.pool.cycle_ends_at,
    )  # fmt: skip
    card = make_card(office.account, makers.DECLINE, now=office.now)
    rule = make_rule(pool, bought.pack, method_id=card.pk, now=office.now)
    topups.run_due(now=office.now, limit=10)
    return rule


def test_a_purchase_is_shown_with_links_to_all_it_touches(staff: Client, bought: Purchase) -> None:
    listed = text_of(staff, f"{BILLING}/purchase/")
    assert "$142.80" in listed
    assert "alice@example.com" in listed
    page = text_of(staff, f"{BILLING}/purchase/{bought.pk}/change/")
    for table, pk in (
        ("account", bought.account_id), ("pack", bought.pack_id), ("creditpool", bought.pool_id),
        ("invoice", bought.invoice_id),
    ):  # fmt: skip
        assert f'href="/admin/billing/{table}/{pk}/change/"' in page
    assert str(bought.token) in page
    assert "<b>cheap" not in page + listed


def test_purchases_are_found(staff: Client, bought: Purchase) -> None:
    for search in ("northwind", "INV-000001", "alice@example.com"):
        assert "1 purchase" in text_of(staff, f"{BILLING}/purchase/?q={search}"), search
        assert "0 purchases" in text_of(staff, f"{BILLING}/purchase/?q={search}x"), search


def test_a_rule_shows_how_it_stands_and_what_it_has_bought(staff: Client, rule: TopUpRule) -> None:
    page = text_of(staff, f"{BILLING}/topuprule/{rule.pk}/change/")
    assert "$1,000.00" in page
    assert f"/admin/billing/topup/{TopUp.objects.get().pk}/change/" in page
    assert f"/admin/billing/topup/?rule={rule.pk}" in page
    assert "<i>x" not in page
    top_up = text_of(staff, f"{BILLING}/topup/{TopUp.objects.get().pk}/change/")
    assert f"/admin/billing/topuprule/{rule.pk}/change/" in top_up
    assert "1 top-up" in text_of(staff, f"{BILLING}/topup/?rule={rule.pk}")
    assert "failed" in text_of(staff, f"{BILLING}/topup/?rule__pool__account={rule.pool.account_id}")


def test_rules_are_filtered_by_how_they_stand(staff: Client, rule: TopUpRule) -> None:
    for standing, count in (("on", 1), ("failing", 1), ("gave_up", 0), ("off", 0), ("x", 1)):
        assert f"{count} top-up rule" in text_of(staff, f"{BILLING}/topuprule/?standing={standing}"), standing


def test_a_rule_that_gave_up_is_told_from_one_that_was_switched_off(staff: Client, rule: TopUpRule) -> None:
    TopUpRule.objects.update(is_active=False)
    assert "1 top-up rule" in text_of(staff, f"{BILLING}/topuprule/?standing=off")
    TopUpRule.objects.update(switched_off_at=rule.changed_at)
    assert "1 top-up rule" in text_of(staff, f"{BILLING}/topuprule/?standing=gave_up")


def test_lists_open_with_few_queries(staff: Client, rule: TopUpRule, django_assert_max_num_queries: object) -> None:
    now = rule.changed_at
    for number in range(5):
        account = make_account(f"other-{number}", now=now)
        card = make_card(account, now=now)
        pool = account.pools.get()
        buy(pool, rule.pack, method_id=card.pk, now=now)
        make_rule(pool, rule.pack, now=now)
        posting.spend(pool_id=pool.pk, credits=Decimal(950), reference="used", now=now)
    topups.run_due(now=now, limit=10)
    assert TopUp.objects.count() == 6
    for table in ("purchase", "topuprule", "topup"):
        with django_assert_max_num_queries(MAX_QUERIES, info=table):  # type: ignore[operator]
            assert staff.get(f"{BILLING}/{table}/").status_code == 200, table
