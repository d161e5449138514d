"""What meters earned, within the credits of a plan and beyond them, with the figures worked by hand."""

from decimal import Decimal

import pytest

from billing.catalog.models import Meter
from billing.finance.reports import Report
from billing.ledger import pools, posting
from billing.metering import ingest
from billing.subscriptions.models import OverageCharge
from tests.factories import make_meter, make_rate_card
from tests.finance.makers import D, at, issue, report, use
from tests.invoicing.makers import plain_line
from tests.subscriptions.makers import make_team, run, subscribe


@pytest.fixture
def meters(acme) -> tuple[Meter, Meter, Meter]:
    return make_meter("images"), make_meter("tokens"), make_meter("videos")


def plan(price: str, **fields: object) -> object:
    """50.00 a month for 1,000 credits, each further one at this price."""
    return make_team(
        policy="overage", prices={"USD": {"fee": "50.00", "overage_tiers": [{"up_to": None, "price": price}]}}, **fields
    )


def earned(found: Report, way: str) -> dict[tuple[int, str], str]:
    """What was earned in this way, by month and meter."""
    return {(row.month.month, row.meter): f"{row.money:.2f}" for row in found.earned if row.way == way}


def invoiced_at_once(found: Report) -> Decimal:
    """What the journal says was earned with the invoices."""
    return -sum((document.entries.get("revenue:at_once", D(0)) for document in found.documents), D(0))


def test_overage_is_due_to_the_meters_that_went_beyond_the_credits(acme, meters):
    images, tokens, _ = meters
    subscribe(acme, plan("0.01"), now=at(1, 1))
    use(acme, "800", now=at(1, 5), meter_id=images.pk)
    # 200 of these are still within; 100 are beyond.
    use(acme, "300", now=at(1, 6), meter_id=tokens.pk)
    use(acme, "233", now=at(1, 7), meter_id=images.pk)
    use(acme, "10", now=at(1, 8))
    run(at(2, 1, 0))
    found = report(at(2, 10))
    assert earned(found, "use") == {(1, "Images"): "40.00", (1, "Tokens"): "10.00"}
    # 343 at a cent each.
    assert earned(found, "overage") == {(2, "Images"): "2.33", (2, "Tokens"): "1.00", (2, ""): "0.10"}
    assert invoiced_at_once(found) == D("3.43")


def test_cents_go_to_the_largest_remainder(acme, meters):
    subscribe(acme, plan("0.033333"), now=at(1, 1))
    use(acme, "1000", now=at(1, 2))
    for day, (meter, credits) in enumerate(zip(meters, ("100", "101", "99"), strict=True), 3):
        use(acme, credits, now=at(1, day), meter_id=meter.pk)
    run(at(2, 1, 0))
    # 300 credits are 9.9999: 10.00. Of it 3.3333, 3.3667 and 3.30: the cent left over goes to the second.
    assert earned(report(at(2, 10)), "overage") == {
        (2, "Images"): "3.33", (2, "Tokens"): "3.37", (2, "Videos"): "3.30",
    }  # fmt: skip


def test_of_pure_consumption_all_is_due_to_meters_even_when_one_posting_charged_several(acme, meters):
    images, tokens, _ = meters
    make_rate_card({images: "3", tokens: "1"}, now=at(1))
    price = {"fee": "0", "minimum": "5.00", "overage_tiers": [{"up_to": None, "price": "0.02"}]}
    subscribe(acme, make_team(policy="overage", included_credits=D(0), prices={"USD": price}), now=at(1, 1))
    events: list[object] = [
        {"id": f"e{number}", "account": "acme", "meter": meter, "quantity": "10", "occurred_at": at(1, 5).isoformat()}
        for number, meter in enumerate(("images", "tokens"))
    ]
    taken = ingest.take_events(events=events, now=at(1, 5))
    assert [each.status for each in taken.results] == ["accepted", "accepted"]
    run(at(2, 1, 0))
    found = report(at(2, 10))
    # 30 and 10 credits at 0.02; what is missing to the minimum is due to no meter, and is no overage.
    assert earned(found, "overage") == {(2, "Images"): "0.60", (2, "Tokens"): "0.20"}
    assert earned(found, "at_once") == {(2, ""): "4.20"}
    assert invoiced_at_once(found) == 5


def test_what_is_reversed_later_is_taken_from_its_own_meter_in_its_own_month(acme, meters):
    images, tokens, _ = meters
    subscribe(acme, plan("0.10"), now=at(1, 1))
    use(acme, "1100", now=at(1, 5), meter_id=images.pk)
    use(acme, "50", now=at(1, 6), meter_id=tokens.pk)
    run(at(2, 1, 0))
    before = report(at(2, 28, 0))
    assert earned(before, "overage") == {(2, "Images"): "10.00", (2, "Tokens"): "5.00"}
    spent = pools.get_main_pool(acme.pk).postings.get(act="spend", meter=tokens)
    posting.reverse(posting_id=spent.pk, now=at(2, 28))
    run(at(3, 1, 0))
    assert [charge.amount for charge in OverageCharge.objects.order_by("number")] == [15, -5]
    found = report(at(3, 10))
    assert earned(found, "overage") == {(2, "Images"): "10.00", (2, "Tokens"): "5.00", (3, "Tokens"): "-5.00"}
    assert invoiced_at_once(found) == 10


def test_what_else_is_earned_at_once_stays_without_a_meter(acme):
    issue(acme, plain_line("20.00"), reference="help", now=at(1, 5))
    found = report(at(2))
    assert earned(found, "at_once") == {(1, ""): "20.00"}
    assert earned(found, "overage") == {}
