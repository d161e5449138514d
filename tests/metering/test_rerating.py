"""What last month would have cost by a draft: the same rates cost the same, others what they would have charged."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import OperationalError

from billing.accounts.models import Account
from billing.catalog import rate_cards
from billing.catalog.models import Meter, Rate, RateCard, RateCardVersion
from billing.metering import rerating, reversal
from billing.metering.models import UsageEvent
from tests.factories import give_credits, make_account, make_issuer, make_meter
from tests.metering.makers import event, publish, rate, send
from tests.subscriptions.makers import make_team, subscribe

pytestmark = pytest.mark.django_db

AT = datetime(2026, 2, 10, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def tokens() -> Meter:
    for name in ("acme", "other"):
        give_credits(make_account(name, now=AT - timedelta(days=100)), "1000000", now=AT - timedelta(days=99))
    return make_meter("tokens", now=AT - timedelta(days=100))


def draft_of(card: RateCard, *rates: Rate) -> RateCardVersion:
    version = rate_cards.draft_version(rate_card_id=card.pk, now=NOW)
    for each in rates:
        each.version = version
    Rate.objects.bulk_create(rates)
    return version


def use(quantity: object, *, at: datetime = AT, **fields: object) -> str:
    sent = event(quantity, at=at, **fields)
    result = send(sent, now=at + timedelta(minutes=1)).results[0]
    assert result.status == "accepted", result
    return str(sent["id"])


def compare(version: RateCardVersion, **options: object) -> rerating.Comparison:
    return rerating.compare(version_id=version.pk, **{"account_id": None, "now": NOW, **options})  # type: ignore[arg-type]


def test_the_same_rates_cost_the_same_whatever_their_model(tokens: Meter) -> None:
    tiers = [{"up_to": "100", "price": "2"}, {"up_to": None, "price": "1"}]

    def rates() -> list[Rate]:
        return [
            rate(tokens, "3", model="per_package", unit_size=Decimal(50)),
            rate(tokens, model="graduated", tiers=tiers, match={"model": "large"}),
            rate(tokens, "0.3333333", match={"model": "small"}, minimum=Decimal(10)),
        ]

    card = publish(*rates())
    for number in range(1, 8):
        for properties in ({}, {"model": "large"}, {"model": "small"}, {"model": "other", "x": 1}):
            use(number * 7, properties=properties)
            use(number, account="other", properties=properties)
    found = compare(draft_of(card, *rates()))
    assert {line.account_name for line in found.lines} == {"Acme", "Other"}
    assert found.old == found.new > 0
    assert all(line.change == 0 and line.unpriced == 0 for line in found.lines)


def test_other_rates_cost_what_they_would_have_charged(tokens: Meter) -> None:
    card = publish(rate(tokens, "1"))
    for _ in range(3):
        use(40)
    found = compare(draft_of(card, rate(tokens, "5", model="per_package", unit_size=Decimal(100))))
    [line] = found.lines
    assert (line.old, line.new, line.change, line.quantity, line.events) == (120, 10, -110, 120, 3)
    assert found.by_meter == [("Tokens", Decimal(120), Decimal(10))]
    assert found.change == -110


def test_a_draft_that_splits_a_rate_by_a_property_prices_each_part(tokens: Meter) -> None:
    card = publish(rate(tokens, "1"))
    use(10, properties={"model": "large"})
    use(10, properties={"model": "small", "colour": "red"})
    use(10)
    found = compare(draft_of(card, rate(tokens, "2"), rate(tokens, "7", match={"model": "large"})))
    assert (found.old, found.new) == (30, 110)


def test_usage_without_a_rate_in_the_draft_is_said(tokens: Meter) -> None:
    card = publish(rate(tokens, "1"))
    use(10, properties={"model": "large"})
    use(5)
    [line] = compare(draft_of(card, rate(tokens, "7", match={"model": "large"}))).lines
    assert (line.new, line.unpriced) == (70, 5)


def test_reversed_events_other_months_and_other_cards_do_not_count(tokens: Meter) -> None:
    card = publish(rate(tokens, "1"))
    publish(rate(tokens, "9"), key="contract", is_default=False)
    acme = use(10)
    use(3, at=datetime(2026, 1, 31, 23, tzinfo=UTC))
    use(4, at=datetime(2026, 3, 1, tzinfo=UTC))
    use(5, at=datetime(2026, 2, 1, tzinfo=UTC))
    draft = draft_of(card, rate(tokens, "2"))
    assert compare(draft).old == 15
    reversal.reverse_event(account_id=UsageEvent.objects.get(event_id=acme).account_id, event_id=acme, now=NOW)
    assert (compare(draft).old, compare(draft).new) == (5, 10)
    other = draft_of(RateCard.objects.get(key="contract"), rate(tokens, "2"))
    assert compare(other).lines == []


def test_months_are_each_accounts_own(tokens: Meter) -> None:
    card = publish(rate(tokens, "1"))
    make_account("tokyo", now=AT - timedelta(days=100), time_zone="Asia/Tokyo", policy="overage")
    use(7, account="tokyo", at=datetime(2026, 1, 31, 16, tzinfo=UTC))
    use(8, account="tokyo", at=datetime(2026, 2, 28, 16, tzinfo=UTC))
    [line] = compare(draft_of(card, rate(tokens, "2"))).lines
    assert line.quantity == 7


def test_periods_of_a_plan_are_priced_one_by_one(tokens: Meter) -> None:
    """Weeks from 2 February: 30 in one and 30 in the next are a package of 50 each."""
    make_issuer()
    card = publish(rate(tokens, "1"))
    account = Account.objects.get(external_id="acme")
    subscribe(account, make_team(interval="week"), now=datetime(2026, 2, 2, 12, tzinfo=UTC))
    for day in (3, 10):
        use(30, at=datetime(2026, 2, day, tzinfo=UTC))
    [line] = compare(draft_of(card, rate(tokens, "5", model="per_package", unit_size=Decimal(50)))).lines
    assert (line.events, line.quantity, line.old, line.new) == (2, 60, 60, 10)


def test_one_account_can_be_looked_at(tokens: Meter) -> None:
    card = publish(rate(tokens, "1"))
    use(10)
    use(20, account="other")
    draft = draft_of(card, rate(tokens, "1"))
    account = UsageEvent.objects.get(quantity=20).account_id
    assert [line.account_name for line in compare(draft, account_id=account).lines] == ["Other"]


def test_more_than_is_looked_at_at_once_is_refused(tokens: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    card = publish(rate(tokens, "1"))
    use(10)
    use(20, account="other")
    draft = draft_of(card, rate(tokens, "1"))
    monkeypatch.setattr(rerating, "MAX_GROUPS", 1)
    with pytest.raises(rerating.TooMuch):
        compare(draft)


def test_a_statement_that_takes_too_long_is_given_up(tokens: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    card = publish(rate(tokens, "1"))
    draft = draft_of(card, rate(tokens, "1"))
    monkeypatch.setattr(rerating, "SECONDS", 1)
    monkeypatch.setattr(rerating, "_READ", "SELECT pg_sleep(30)")
    with pytest.raises(rerating.TooMuch) as refusal:
        compare(draft)
    assert isinstance(refusal.value.__cause__, OperationalError)
    assert RateCardVersion.objects.exists()
