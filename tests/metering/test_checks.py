from datetime import timedelta
from decimal import Decimal

import pytest

from billing.accounts.ids import encode
from billing.catalog import rate_cards
from billing.ledger import pools
from billing.ledger.models import MemberLimit
from billing.metering import checks, estimates
from billing.metering.events import InvalidEvent
from billing.metering.quotes import Asked
from tests.factories import give_credits, make_account, make_meter
from tests.metering.makers import DAY, NOW, START, all_rows, charge, event, publish, rate, send

D = Decimal
TIERS = [{"up_to": "10", "price": "2"}, {"up_to": None, "price": "1"}]


def check(*lines, accounts=("acme",), now=NOW, **options):
    return checks.check(accounts=accounts, lines=lines, now=now, **options)


def reasons(*lines, **options):
    return [verdict.reason for verdict in check(*lines, **options)]


def tokens_asked(quantity, **fields):
    return Asked("tokens", D(quantity), **fields)


def test_what_the_credits_cover_is_allowed(acme, priced):
    (verdict,) = check(tokens_asked(1000))
    assert (verdict.account, verdict.line, verdict.allowed, verdict.reason) == ("acme", 0, True, "")
    assert (verdict.required, verdict.available) == (1000, 1000)
    assert [verdict.required for verdict in check(Asked(credits=D("2.5")))] == [D("2.5")]


def test_each_refusal_names_its_reason(acme, priced, bob):
    seats = make_meter("seats", kind="unique", unique_property="user")
    make_meter("images")
    publish(rate(priced), rate(seats), effective_at=NOW, now=NOW)
    assert reasons(tokens_asked(1001), Asked(credits=D(1001))) == ["insufficient_credits"] * 2
    assert reasons(Asked("nothing"), Asked("images"), Asked("seats")) == [
        "unknown_meter", "no_rate", "missing_property",
    ]  # fmt: skip
    assert reasons(tokens_asked(1), accounts=["nobody"]) == ["unknown_account"]
    assert reasons(tokens_asked(1), pool="nowhere") == ["unknown_pool"]
    assert reasons(tokens_asked(1), member="mem_0000000000009") == ["unknown_member"]
    assert reasons(tokens_asked(1), member="bob") == ["unknown_member"]
    acme.parked_at = NOW
    acme.save()
    assert reasons(tokens_asked(1)) == ["paused"]


def test_a_refusal_still_tells_what_it_takes(acme, priced):
    (verdict,) = check(tokens_asked(1500))
    assert (verdict.allowed, verdict.required, verdict.available) == (False, 1500, 1000)
    (verdict,) = check(Asked("nothing"))
    assert (verdict.required, verdict.available) == (None, None)


def test_a_cost_beyond_all_bounds_is_refused(acme, tokens):
    publish(rate(tokens, "1000000"))
    assert reasons(tokens_asked(10**17)) == ["amount_too_large"]


def test_a_members_limit_counts_what_was_spent_this_month(acme, priced, bob):
    pools.set_member_limit(member_id=bob.pk, amount=D(10), now=NOW)
    name = encode("mem", bob.pk)
    charge(8, member=name)
    assert reasons(tokens_asked(2), tokens_asked(3), member=name) == ["", "spend_limit"]
    assert reasons(tokens_asked(3)) == [""]
    assert reasons(tokens_asked(10), member=name, now=NOW + 30 * DAY) == [""]
    assert MemberLimit.objects.get().spent == 8


def test_the_policy_of_the_pool_is_asked(acme, priced):
    pool = pools.get_main_pool(acme.pk)
    pools.set_policy(pool_id=pool.pk, policy="burst", burst_limit=D(50), overage_cap=None)
    assert reasons(tokens_asked(1050), tokens_asked(1051)) == ["", "insufficient_credits"]
    pools.set_policy(pool_id=pool.pk, policy="overage", burst_limit=D(0), overage_cap=None)
    assert reasons(tokens_asked(10**9)) == [""]


def test_a_team_pool_is_asked_by_its_key(acme, priced):
    team = pools.open_pool(account=acme, key="team", name="Team", now=NOW)
    assert reasons(tokens_asked(1), pool="team") == ["insufficient_credits"]
    assert team.balance == 0


def test_credits_of_a_meter_and_expired_ones_are_told_apart(acme, priced):
    other = make_meter("images")
    publish(rate(priced), rate(other), effective_at=NOW, now=NOW)
    give_credits(acme, "50", now=NOW, meter_id=other.pk)
    give_credits(acme, "7", now=NOW - 2 * DAY, expires_at=NOW)
    assert [verdict.available for verdict in check(tokens_asked(1), Asked("images", D(1)))] == [1000, 1050]


def test_lines_are_asked_each_by_itself_on_top_of_the_periods_usage(acme, tokens):
    publish(rate(tokens, model="graduated", tiers=TIERS))
    send(event(9))
    assert [verdict.required for verdict in check(tokens_asked(1), tokens_asked(2), tokens_asked(2))] == [2, 3, 3]


def test_a_unique_value_that_was_counted_costs_nothing_more(acme, tokens):
    publish(rate(make_meter("seats", kind="unique", unique_property="user"), "5"))
    send(event(meter="seats", properties={"user": "u1"}))
    lines = [Asked("seats", properties={"user": name}) for name in ("u1", "u2")]
    assert [verdict.required for verdict in check(*lines)] == [0, 5]


def test_a_hundred_accounts_and_meters_take_a_handful_of_queries(tokens, django_assert_max_num_queries):
    for number in range(100):
        give_credits(make_account(f"org{number}", now=START), "5", now=NOW)
    lines = [tokens_asked(number) for number in range(100)]
    publish(rate(tokens))
    check(accounts=["org0"])  # reads the catalog, once in a process
    before = all_rows()
    with django_assert_max_num_queries(3):
        verdicts = check(*lines, accounts=[f"org{number}" for number in range(100)])
    assert len(verdicts) == 10_000
    assert [verdict.line for verdict in verdicts if verdict.account == "org7" and verdict.allowed] == [*range(6)]
    assert all_rows() == before


def test_a_question_with_properties_that_no_event_may_have_is_refused(acme, priced):
    for ask in (check, lambda line: estimates.estimate(account="acme", lines=[line], now=NOW)):
        with pytest.raises(InvalidEvent) as refused:
            ask(Asked("tokens", properties={"nested": {}}))
        assert refused.value.code == "invalid_properties"


def estimate(*lines, **options):
    return estimates.estimate(account="acme", lines=lines, **{"now": NOW, **options})


def test_lines_of_an_estimate_build_on_each_other_and_on_the_period(acme, tokens):
    publish(rate(tokens, model="graduated", tiers=TIERS), rate(make_meter("images"), "3"))
    send(event(4))
    before = all_rows()
    found = estimate(tokens_asked(5), Asked("images", D(2)), tokens_asked(5), tokens_asked(5))
    assert [(line.meter, line.quantity, line.credits) for line in found.lines] == [
        ("tokens", 5, 10), ("images", 2, 6), ("tokens", 5, 6), ("tokens", 5, 5),
    ]  # fmt: skip
    assert (found.credits, found.available) == (27, 992)
    assert all_rows() == before


def test_an_estimate_costs_what_the_events_then_cost(acme, tokens):
    publish(rate(tokens, "7", model="per_package", unit_size=D(10), minimum=D(9)))
    quantities = [1, 8, 3, 40]
    expected = [line.credits for line in estimate(*(tokens_asked(each) for each in quantities)).lines]
    assert [result.credits for result in send(*(event(each) for each in quantities)).results] == expected


def test_an_estimate_takes_quantities_as_units_of_the_meter(acme):
    calls = make_meter("calls", aggregation="count")
    storage = make_meter("storage", kind="gauge")
    seats = make_meter("seats", kind="unique", unique_property="user")
    publish(rate(calls, "1"), rate(storage, "2"), rate(seats, "3"))
    found = estimate(Asked("calls", D(10)), Asked("storage", D(10)), Asked("seats", D(10)))
    assert [line.credits for line in found.lines] == [10, 20, 30]


def test_an_estimate_for_a_moment_uses_the_prices_of_then(acme, priced):
    publish(rate(priced, "3"), effective_at=NOW + DAY, now=NOW)
    assert estimate(tokens_asked(1)).credits == 1
    assert estimate(tokens_asked(1), occurred_at=NOW + 2 * DAY).credits == 3


def test_an_estimate_finds_the_accounts_own_card(acme, priced):
    card = publish(rate(priced, "0.5"), key="contract", is_default=False)
    rate_cards.assign(account=acme, rate_card=card, kind="contract", starts_at=NOW - timedelta(1))
    assert estimate(tokens_asked(10)).credits == 5


@pytest.mark.parametrize(
    ("line", "field", "code"),
    [
        (Asked("nothing"), "lines.1.meter", "unknown_meter"),
        (Asked("images"), "lines.1.meter", "no_rate"),
        (Asked("tokens", D(10**17)), "lines.1.quantity", "amount_too_large"),
    ],
)
def test_an_estimate_says_which_line_is_wrong(acme, tokens, line, field, code):
    make_meter("images")
    publish(rate(tokens, "1000000"))
    with pytest.raises(InvalidEvent) as refused:
        estimate(tokens_asked(1), line)
    assert (refused.value.field, refused.value.code) == (field, code)


def test_an_estimate_for_nobody_says_so(db):
    with pytest.raises(InvalidEvent) as refused:
        estimate(tokens_asked(1))
    assert (refused.value.field, refused.value.code) == ("account", "unknown_account")
