"""Which price an event gets: its account's card, the version of its time, the rate that fits best."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.catalog import rate_cards
from tests.factories import make_meter
from tests.metering.makers import DAY, HOUR, NOW, START, event, publish, rate, send, send_one

D = Decimal


def test_a_contract_card_wins_over_experiment_plan_and_default(acme, priced):
    starts = NOW - DAY
    for price, kind, ends in (
        ("2", "plan", 4),
        ("3", "experiment", 3),
        ("4", "grandfathered", 2),
        ("5", "contract", 1),
    ):
        card = publish(rate(priced, price), key=kind, is_default=False)
        rate_cards.assign(
            account=acme, rate_card=card, kind=kind, starts_at=starts, ends_at=starts + ends * timedelta(hours=4)
        )
    credits = [send_one(event(at=starts + hours * HOUR)).credits for hours in (-1, 1, 5, 9, 13, 17)]
    assert credits == [1, 5, 4, 3, 2, 1]


def test_the_version_in_force_when_it_happened_prices_the_event(acme, priced):
    publish(rate(priced, "3"), effective_at=NOW, now=NOW - DAY)
    before, at = event(at=NOW - timedelta(microseconds=1)), event(at=NOW)
    assert [result.credits for result in send(before, at).results] == [1, 3]
    assert send_one(event(at=START - DAY), max_age=1000 * DAY).credits == 1  # from before the card's first version


@pytest.mark.parametrize(
    ("properties", "credits"),
    [({}, 1), ({"model": "x"}, 1), ({"model": "gpt-4"}, 2), ({"model": "gpt-4", "region": "eu"}, 3),
     ({"region": "eu"}, 4), ({"share": D("0.1")}, 5), ({"cached": True}, 6), ({"model": 4}, 1)],
)  # fmt: skip
def test_the_most_specific_match_prices_the_event(acme, tokens, properties, credits):
    publish(
        rate(tokens, "1"), rate(tokens, "2", match={"model": "gpt-4"}),
        rate(tokens, "3", match={"model": "gpt-4", "region": "eu"}), rate(tokens, "4", match={"region": "eu"}),
        rate(tokens, "5", match={"share": 0.1}), rate(tokens, "6", match={"cached": True}),
    )  # fmt: skip
    assert send_one(event(properties=properties)).credits == credits


def test_each_dimension_has_a_cumulative_quantity_of_its_own(acme, tokens):
    packages = {"model": "per_package", "unit_size": D(10)}
    publish(rate(tokens, "1", **packages), rate(tokens, "5", match={"model": "large"}, **packages))
    quantities = [event(6), event(6, properties={"model": "large"}), event(6), event(3, properties={"model": "large"})]
    assert [result.credits for result in send(*quantities).results] == [1, 5, 1, 0]


def test_without_a_rate_that_matches_an_event_is_rejected(acme, tokens):
    publish(rate(tokens, match={"model": "gpt-4"}))
    assert send_one(event()).code == "no_rate"


def test_usage_that_its_version_forgot_is_priced_by_the_next_that_has_it_once_that_is_in_force(acme, priced):
    images = make_meter("images")
    publish(rate(priced, "2"), rate(images, "7"), effective_at=NOW, now=NOW - DAY)
    forgotten = event(at=NOW - HOUR, meter="images")
    assert send_one(forgotten, now=NOW - HOUR).code == "no_rate"
    assert send_one(forgotten, now=NOW).credits == 7
    assert send_one(event(at=NOW - HOUR), now=NOW).credits == 1


def test_a_later_versions_rate_never_takes_the_place_of_one_that_fits(acme, tokens):
    publish(rate(tokens, "1"), rate(tokens, "2", match={"model": "a"}))
    publish(rate(tokens, "9", match={"model": "a", "region": "eu"}), effective_at=NOW, now=NOW)
    properties = {"model": "a", "region": "eu"}
    assert send_one(event(at=NOW - HOUR, properties=properties)).credits == 2
    assert send_one(event(properties=properties)).credits == 9
    assert send_one(event()).code == "no_rate"


def test_a_rate_whose_match_no_counter_can_name_is_not_published(acme, tokens):
    with pytest.raises(rate_cards.NotPublishable, match="longer than 500"):
        publish(rate(tokens, match={f"p{number}": "x" * 100 for number in range(5)}))


def test_a_new_version_is_used_by_the_very_next_event(acme, priced):
    assert send_one(event()).credits == 1
    publish(rate(priced, "2"), effective_at=NOW, now=NOW)
    assert send_one(event()).credits == 2
