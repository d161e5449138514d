"""Parts that are credited of an invoice: at most, and together exactly, what was charged per rate of tax."""

import itertools
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.pricing import round_money, share_tax
from billing.invoicing import spreading
from billing.invoicing.models import InvoiceLine

ZERO = Decimal(0)
PERCENTS = {"standard": Decimal(19), "books": Decimal(7), "untaxed": ZERO}
CENT = Decimal("0.01")


def anything(line):
    return True


def lines_of(charges):
    """Lines as an issued invoice has them: what each category's amounts come to is not negative, nor is its tax."""
    lines = [InvoiceLine(pk=pk, category=kind, tax_percent=PERCENTS[kind], amount=cents * CENT)
             for pk, (kind, cents) in enumerate(charges, 1)]  # fmt: skip
    for kind, percent in PERCENTS.items():
        alike = [line for line in lines if line.category == kind]
        for line, tax in zip(alike, share_tax([line.amount for line in alike], percent, "EUR"), strict=True):
            line.tax_amount = tax
    return lines


@st.composite
def invoices(draw):
    charges = draw(
        st.lists(st.tuples(st.sampled_from(sorted(PERCENTS)), st.integers(1, 30_000)), min_size=1, max_size=6)
    )
    for kind in sorted({kind for kind, _ in charges}):
        if draw(st.booleans()):
            whole = sum(cents for each, cents in charges if each == kind)
            charges.append((kind, -draw(st.integers(0, whole))))
    return lines_of(charges)


def take(parts):
    """Count parts as credited, and check that no line is beyond what it charged."""
    for part in parts:
        part.line.amount_credited += part.amount
        part.line.tax_credited += part.tax
        assert part.amount >= 0
        assert part.tax >= 0
        assert part.line.amount_credited <= part.line.amount
        assert part.line.tax_credited <= part.line.tax_amount


@given(invoices(), st.data())
def test_parts_are_at_most_and_the_last_exactly_what_was_charged_per_rate_of_tax(lines, data):
    groups = spreading.list_groups(lines)
    charged = sum((line.amount + line.tax_amount for line in lines), ZERO)
    credited = ZERO
    for by_lines in data.draw(st.lists(st.booleans(), max_size=5)):
        if by_lines:
            line = data.draw(st.sampled_from([line for line in lines if line.amount > 0]))
            group = next(each for each in groups if line in each.lines)
            most = int(min(line.amount - line.amount_credited, group.net_left) / CENT)
            parts = spreading.of_lines(lines, {line.pk: data.draw(st.integers(0, most)) * CENT}, "EUR")
        else:
            amount = data.draw(st.integers(0, int((charged - credited) / CENT))) * CENT
            parts = spreading.spread(lines, amount, "EUR", may=anything)
            assert sum((part.amount + part.tax for part in parts), ZERO) == amount
        take(parts)
        credited += sum((part.amount + part.tax for part in parts), ZERO)
        assert all(group.net_left >= 0 and group.tax_left >= 0 for group in groups)
    left = spreading.left_of(lines, may=anything)
    assert left == charged - credited
    take(spreading.spread(lines, left, "EUR", may=anything))
    assert [(group.net_left, group.tax_left) for group in groups] == [(0, 0)] * len(groups)


@given(invoices(), st.data())
def test_lines_that_use_up_a_rate_of_tax_leave_none_of_its_tax(lines, data):
    for group in spreading.list_groups(lines):
        for line in data.draw(st.permutations([line for line in group.lines if line.amount > 0])):
            amount = min(line.amount - line.amount_credited, group.net_left)
            first = data.draw(st.integers(0, int(amount / CENT))) * CENT
            take(spreading.of_lines(lines, {line.pk: first}, "EUR"))
            take(spreading.of_lines(lines, {line.pk: amount - first}, "EUR"))
        assert (group.net_left, group.tax_left) == (0, 0)


def test_days_taken_back_of_usual_prices_coupons_and_rates_never_exceed_the_invoice():
    prices = ["4.99", "5", "7.99", "9", "9.99", "10", "12.99", "14.99", "19", "19.99", "20", "24.99", "29", "29.99",
              "39", "39.99", "49", "49.99", "59", "79", "79.99", "99", "99.99", "129", "149", "199", "249", "299",
              "499", "499.99", "599", "799", "999"]  # fmt: skip
    usual = itertools.product(prices, [5, 10, 15, 20, 25, 30, 33, 40, 50], [7, 8, 10, 17, 19, 20, 21, 22, 23, 25])
    tried = 0
    for price, off, percent in usual:
        fee = InvoiceLine(pk=1, amount=Decimal(price), tax_percent=Decimal(percent))
        coupon = InvoiceLine(pk=2, amount=-round_money(fee.amount * off / 100, "EUR"), tax_percent=Decimal(percent))
        lines = [fee, coupon]
        fee.tax_amount, coupon.tax_amount = share_tax([line.amount for line in lines], Decimal(percent), "EUR")
        net, tax = fee.amount + coupon.amount, fee.tax_amount + coupon.tax_amount
        tried += 1
        first = round_money(net / 3, "EUR")
        take(spreading.of_lines(lines, {1: first}, "EUR"))
        take(spreading.of_lines(lines, {1: net - first}, "EUR"))
        assert (fee.amount_credited, fee.tax_credited) == (net, tax), (price, off, percent)
    assert tried == 2_970


def test_what_may_not_be_credited_keeps_its_part():
    pack, support = lines_of([("standard", 10_000), ("standard", 5_000)])

    def not_the_pack(line):
        return line is not pack

    assert spreading.left_of([pack, support], may=not_the_pack) == Decimal("59.50")
    parts = spreading.spread([pack, support], Decimal("59.50"), "EUR", may=not_the_pack)
    assert [(part.line, part.amount, part.tax) for part in parts] == [(support, 50, Decimal("9.50"))]
