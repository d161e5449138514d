"""Prices in words, and which card's they are."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog import rate_cards
from billing.catalog.models import Meter, Rate, RateCard
from portal.usage.price_list import lines_of, read_price_list
from tests.factories import make_account, make_meter
from tests.metering.makers import NOW, START, publish, rate

TOKENS = Meter(key="tokens", name="Tokens", unit="token")


def _rate(price: str = "1", **fields: object) -> Rate:
    given = {"unit_size": Decimal(1), "minimum": Decimal(0), **fields}
    return Rate(meter=TOKENS, price=Decimal(price), **given)


@pytest.mark.parametrize(
    ("priced", "words", "buys", "example"),
    [
        (_rate("25"), "25 per token", "0.04", ("1", "token", "25")),
        (_rate("0.004"), "0.004 per token", "250", ("10000", "tokens", "40")),
        (_rate("2", unit_size=Decimal(1000)), "2 per 1,000 tokens", "500", ("10000", "tokens", "20")),
        (
            _rate("3", unit_size=Decimal(60), model="per_package"),
            "3 for each 60 tokens started, counted over a calendar month",
            "20",
            ("600", "tokens", "30"),
        ),
        (
            _rate(model="graduated", tiers=[{"up_to": "500", "price": "5"}, {"up_to": None, "price": "3"}]),
            "per token, counted over a calendar month: 5 up to 500, then 3",
            "0.2",
            ("10", "tokens", "50"),
        ),
        (_rate("0"), "free", None, ("100000", "tokens", "0")),
        (
            _rate("1", minimum=Decimal(20)),
            "1 per token; at least 20 in a calendar month with usage",
            "1",
            ("1", "token", "20"),
        ),
    ],
)
def test_a_price_is_said_in_words_with_an_example(
    priced: Rate, words: str, buys: str | None, example: tuple[str, str, str]
) -> None:
    (line,) = lines_of([priced], period="calendar month")
    assert line.price == words
    assert line.credit_buys == (None if buys is None else Decimal(buys))
    quantity, unit, credits = example
    assert (line.example.quantity, line.example.unit, line.example.credits) == (
        Decimal(quantity), unit, Decimal(credits),
    )  # fmt: skip


@pytest.fixture
def acme(db: None) -> Account:
    """Under the default card tokens cost 1, 2 on the large model."""
    tokens = make_meter("tokens", now=START)
    publish(rate(tokens), rate(tokens, "2", match={"model": "large"}))
    return make_account("acme", now=START)


def test_the_default_card_is_for_everyone(acme: Account) -> None:
    prices = read_price_list(acme, has_plan=False, now=NOW)
    assert prices is not None
    assert (prices.name, prices.since, prices.is_own) == ("Standard", START, False)
    assert [(line.condition, line.price) for line in prices.lines] == [
        ("model large", "2 per token"),
        ("", "1 per token"),
    ]
    assert prices.example_meter == "tokens"


def test_the_newest_version_in_force_counts(acme: Account) -> None:
    tokens = Meter.objects.get()
    publish(rate(tokens, "3"), effective_at=NOW)
    publish(rate(tokens, "4"), effective_at=NOW + timedelta(days=1))
    prices = read_price_list(acme, has_plan=False, now=NOW)
    assert prices is not None
    assert [line.price for line in prices.lines] == ["3 per token"]


@pytest.mark.parametrize(("kind", "wins"), [("plan", "Contract"), ("contract", "Second")])
def test_an_accounts_own_card_wins_by_its_rank(acme: Account, kind: str, wins: str) -> None:
    tokens = Meter.objects.get()
    for key, its_kind in (("contract", "contract" if kind == "plan" else "experiment"), ("second", kind)):
        card = publish(rate(tokens, "9"), key=key, is_default=False)
        rate_cards.assign(account=acme, rate_card=card, kind=its_kind, starts_at=START)
    prices = read_price_list(acme, has_plan=False, now=NOW)
    assert prices is not None
    assert (prices.name, prices.is_own) == (wins, True)


def test_a_card_that_has_ended_or_is_anothers_counts_no_more(acme: Account) -> None:
    card = publish(rate(Meter.objects.get(), "9"), key="contract", is_default=False)
    rate_cards.assign(account=acme, rate_card=card, kind="contract", starts_at=START, ends_at=NOW)
    other = make_account("other", now=START)
    rate_cards.assign(account=other, rate_card=card, kind="contract", starts_at=START)
    prices = read_price_list(acme, has_plan=False, now=NOW)
    assert prices is not None
    assert prices.name == "Standard"


def test_without_a_card_there_are_no_prices(acme: Account) -> None:
    assert read_price_list(acme, has_plan=False, now=START - timedelta(days=1)) is None
    RateCard.objects.update(is_default=False)
    assert read_price_list(acme, has_plan=False, now=NOW) is None


def test_an_archived_meter_is_not_for_sale(acme: Account) -> None:
    Meter.objects.update(archived_at=NOW)
    prices = read_price_list(acme, has_plan=False, now=NOW)
    assert prices is not None
    assert (prices.lines, prices.example_meter) == ([], "")


def test_a_plans_prices_count_by_its_billing_period_unless_the_card_says_months(acme: Account) -> None:
    tokens, packages = Meter.objects.get(key="tokens"), {"model": "per_package", "unit_size": Decimal(50)}
    found = []
    for number, counts_by in enumerate(("billing_period", "calendar_month"), start=1):
        at = NOW + timedelta(days=number)
        publish(rate(tokens, "3", **packages), counts_by=counts_by, effective_at=at, now=at)
        for has_plan in (True, False):
            prices = read_price_list(acme, has_plan=has_plan, now=at)
            assert prices is not None
            found.append(prices.lines[0].price.rpartition(" a ")[2])
    assert found == ["billing period", "calendar month", "calendar month", "calendar month"]
