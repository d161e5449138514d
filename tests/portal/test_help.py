"""The help page, whose answers are the account's own."""

import gzip
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from billing.accounts.ids import encode
from billing.accounts.models import Role
from billing.catalog.pack_models import Pack, PackTier
from billing.invoicing.models import Issuer
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant
from billing.purchases.models import TopUpRule
from tests.factories import give_credits, make_account, make_member, make_rate_card, make_user
from tests.portal.conftest import MAX_QUERIES, Stage


def _page(client: Client, stage: Stage) -> str:
    response = client.get(f"{stage.url}/help")
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def _pack(stage: Stage) -> Pack:
    pack = Pack.objects.create(
        key="credits", name="Credits", currency=stage.account.currency, min_credits=1000, max_credits=100_000,
        step_credits=1000, validity_days=365, created_at=stage.now,
    )  # fmt: skip
    PackTier.objects.create(pack=pack, from_credits=1000, unit_price=Decimal("0.12"))
    PackTier.objects.create(pack=pack, from_credits=10_000, unit_price=Decimal("0.10"))
    return pack


def test_it_names_the_next_credits_to_go_in_their_order(alice: Client, stage: Stage) -> None:
    give_credits(
        stage.account, "40", now=stage.now, kind="purchase", cost_basis=Decimal("0.1"), currency="USD",
        expires_at=stage.now + timedelta(days=12),
    )  # fmt: skip
    page = _page(alice, stage)
    assert page.index("40 Purchase, good until") < page.index("749.5 Bonus, no expiry, free of charge")
    assert "$0.10 each" in page
    assert "The next to expire are 40 credits, in 12 days, on" in page
    assert "Of one purchase 40 credits are left, at $0.10 each before tax." in page


def test_it_says_that_there_is_nothing(alice: Client, stage: Stage) -> None:
    posting.spend(pool_id=stage.pool.pk, credits=Decimal("749.5"), reference="all", now=stage.now)
    page = _page(alice, stage)
    assert "There are no credits at the moment." in page
    assert "There are no credits that could expire." in page
    assert "No. Credits are good until they expire" in page
    assert "No prices yet" in page


def test_it_says_what_has_rolled_over(alice: Client, stage: Stage) -> None:
    # Rollover is the renewal's to post; here the lot's kind is all that matters.
    give_credits(stage.account, "60", now=stage.now, expires_at=stage.now + timedelta(days=9))
    CreditGrant.objects.filter(amount=60).update(kind="rollover")
    assert "60 credits rolled over in Main pool. 60 of them are left" in _page(alice, stage)
    # It stays in the ledger when its credits are used, and so does the answer.
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(60), reference="all", now=stage.now)
    page = _page(alice, stage)
    assert "60 credits rolled over in Main pool. They are used." in page
    assert "No. Credits are good until they expire" not in page


@pytest.mark.parametrize(
    ("policy", "limit", "cap", "words"),
    [
        ("block", 0, None, "Requests are blocked."),
        ("burst", 500, None, "You can go 500 below zero; your next credits cover it."),
        ("overage", 0, None, "Usage continues and is invoiced afterwards."),
        ("overage", 0, 1000, "Usage continues and is invoiced afterwards, up to 1,000 a cycle."),
    ],
)
def test_it_says_what_happens_when_credits_run_out(
    alice: Client, stage: Stage, policy: str, limit: int, cap: int | None, words: str
) -> None:
    pools.set_policy(
        pool_id=stage.pool.pk, policy=policy, burst_limit=Decimal(limit), overage_cap=Decimal(cap) if cap else None
    )
    assert words in _page(alice, stage)


def test_it_says_what_is_owed_and_used_beyond(alice: Client, stage: Stage) -> None:
    pools.set_policy(pool_id=stage.pool.pk, policy="burst", burst_limit=Decimal(500), overage_cap=None)
    posting.spend(pool_id=stage.pool.pk, credits=Decimal(800), reference="big", now=stage.now)
    assert "At the moment 50.5 credits are owed." in _page(alice, stage)


def test_each_pool_has_its_own_answers(alice: Client, stage: Stage) -> None:
    pools.open_pool(account=stage.account, key="research", name="Research", policy="overage", now=stage.now)
    page = _page(alice, stage)
    assert "<strong>Main pool:</strong> Requests are blocked." in page
    assert "<strong>Research:</strong> Usage continues and is invoiced afterwards." in page


def test_it_says_what_usage_costs(alice: Client, stage: Stage) -> None:
    make_rate_card({stage.meter: "0.5"})
    page = _page(alice, stage)
    assert "Your prices are those of the rate card Standard" in page
    assert "0.5 per image" in page
    assert "<td>2 images</td>" in page
    assert "100 images cost 50" in page


def test_it_says_how_to_get_more(alice: Client, stage: Stage) -> None:
    pack = _pack(stage)
    TopUpRule.objects.create(
        pool=stage.pool, threshold=500, pack=pack, credits=2000, max_count=3, max_money=900, changed_at=stage.now
    )
    page = _page(alice, stage)
    assert "Credits: from 1,000 credits at $0.12 each, $0.10 each from 10,000 on." in page
    assert "Credits of the pack Credits are good for 1 year from the payment." in page
    assert "Buys 2,000 credits by itself when fewer than 500 are left, at most 3 times a month." in page
    assert f'href="{stage.url}/buy"' in page


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_who_may_not_buy_is_told_who_may(client: Client, stage: Stage, role: str) -> None:
    bob = make_user("bob")
    make_member(stage.account, bob, role, now=stage.now)
    client.force_login(bob)
    page = _page(client, stage)
    assert "An owner or admin of this account buys packs" in page
    assert f'href="{stage.url}/buy"' not in page
    assert "An owner or admin creates the key." in page


def test_it_says_when_one_is_warned_and_where_the_cycle_stands(alice: Client, stage: Stage) -> None:
    page = _page(alice, stage)
    assert "When 75%, 90% and 100% of a cycle's credits are used" in page.replace("&#x27;", "'")
    assert "250.5 of 1,000 are used, 25%." in page


def test_the_quick_start_has_this_accounts_id(alice: Client, stage: Stage) -> None:
    make_rate_card({stage.meter: "0.5"})
    page = _page(alice, stage)
    assert f"/api/v1/accounts/{encode('acc', stage.account.pk)}/balance" in page
    assert "&quot;meter&quot;: &quot;images&quot;" in page or '"meter": "images"' in page
    assert "<code>northwind</code>" in page


def test_it_says_whom_to_ask_for_a_refund(alice: Client, stage: Stage) -> None:
    Issuer.objects.create(key="us", name="Us", country="DE", email="billing@us.example", is_default=True)
    assert 'href="mailto:billing@us.example"' in _page(alice, stage)


def test_a_parked_account_is_told_so(alice: Client, stage: Stage) -> None:
    stage.account.parked_at = stage.now
    stage.account.save()
    assert "charges are refused until we release it" in _page(alice, stage)


def test_another_accounts_rules_are_its_own(alice: Client, stage: Stage) -> None:
    other = make_account("other", now=stage.now)
    give_credits(other, "31337", now=stage.now)
    assert "31,337" not in _page(alice, stage)


def test_it_needs_few_queries_and_weighs_little(
    alice: Client, stage: Stage, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(8):
        pools.open_pool(account=stage.account, key=f"pool-{number}", name=f"Pool {number}", now=stage.now)
        give_credits(stage.account, "1", now=stage.now)
    make_rate_card({stage.meter: "0.5"})
    _pack(stage)
    with django_assert_max_num_queries(MAX_QUERIES):
        page = _page(alice, stage)
    assert len(gzip.compress(page.encode())) < 20_000
