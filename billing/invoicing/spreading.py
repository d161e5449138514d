"""What of an invoice can still be credited, per rate of tax, and how an amount of money is spread over its lines.

Negative lines (discounts, unused time) lower what was charged at their rate of tax, so at most that much can be
credited of the other lines with that rate. Pure arithmetic on rows that the caller has read, and locked where it
writes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from billing.catalog import pricing
from billing.invoicing.models import InvoiceLine

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be credited of a line: net amount and tax."""

    line: InvoiceLine
    amount: Decimal
    tax: Decimal


@dataclass(slots=True)
class TaxGroup:
    """The lines of an invoice with the same rate and treatment of tax."""

    lines: list[InvoiceLine] = field(default_factory=list)

    @property
    def net_left(self) -> Decimal:
        """What was charged before tax and has not been credited."""
        return sum((line.amount - line.amount_credited for line in self.lines), ZERO)

    @property
    def tax_left(self) -> Decimal:
        """The tax that was charged and has not been credited."""
        return sum((line.tax_amount - line.tax_credited for line in self.lines), ZERO)


def tax_key(line: InvoiceLine) -> tuple[str, str, str, Decimal]:
    """What lines of one tax group have in common."""
    return (line.category, line.tax_treatment, line.tax_name, line.tax_percent)


def list_groups(lines: Iterable[InvoiceLine]) -> list[TaxGroup]:
    """The tax groups of an invoice's lines, in the order of their first lines."""
    groups: dict[tuple[str, str, str, Decimal], TaxGroup] = {}
    for line in lines:
        groups.setdefault(tax_key(line), TaxGroup()).lines.append(line)
    return list(groups.values())


def left_of(lines: Sequence[InvoiceLine], *, may: Callable[[InvoiceLine], bool]) -> Decimal:
    """The most that `spread` takes, tax included."""
    return sum((net + tax for net, tax in (_room(group, may) for group in list_groups(lines))), ZERO)


def spread(
    lines: Sequence[InvoiceLine], amount: Decimal, currency: str, *, may: Callable[[InvoiceLine], bool]
) -> list[Part]:
    """Spread an amount, tax included, over all lines of an invoice that `may` be credited; the parts add up to it.

    Each tax group gets a share by what is left of it, and each line a share of that. Several amounts together never
    exceed what was charged of a line or a tax group, and those that use it up leave nothing, net or tax. `amount` is in
    whole minor units, and at most `left_of`.
    """
    groups = list_groups(lines)
    rooms = [_room(group, may) for group in groups]
    left = [net + tax for net, tax in rooms]
    shares = pricing.share_money(amount, left, of=sum(left, ZERO), currency=currency)
    parts = []
    for group, (net, _tax), whole, share in zip(groups, rooms, left, shares, strict=True):
        part = pricing.part_of_money(net, part=share, of=whole, currency=currency)
        parts += _over_lines(_positive(group, may), part, share - part, currency)
    return parts


def of_lines(lines: Sequence[InvoiceLine], amounts: Mapping[int, Decimal], currency: str) -> list[Part]:
    """What goes with net `amounts` of lines, by their primary keys: each with its part of the line's tax.

    Where the amounts use up what was charged in a tax group, all that is left of its tax goes with them.
    """
    parts = []
    for group in list_groups(lines):
        taken = [line for line in group.lines if line.pk in amounts]
        tax_left, mine = group.tax_left, []
        for line in taken:
            tax = min(tax_with(line, amounts[line.pk], currency), max(tax_left, ZERO))
            tax_left -= tax
            mine.append(Part(line, amounts[line.pk], tax))
        if taken and sum((amounts[line.pk] for line in taken), ZERO) == group.net_left:
            mine = _with_all_tax(mine, tax_left, _positive(group, lambda line: True))
        parts += mine
    return parts


def of_price(
    lines: Sequence[InvoiceLine], price: Decimal, currency: str, *, may: Callable[[InvoiceLine], bool]
) -> tuple[list[Part], Decimal]:
    """Take so much of the price of the lines that `may` be credited, one after the other: net, or with tax of
    lines whose price includes it. `lines` are all of the invoice. Returns the parts, and what of the price is left.

    As with the other ways, parts are at most what is left of a line and of its tax group, and those that use that up
    leave nothing, net or tax.
    """
    net_parts: dict[int, Decimal] = {}
    gross_parts: list[Part] = []
    for group in list_groups(lines):
        net_left, tax_left = group.net_left, group.tax_left
        for line in _positive(group, may):
            net = max(min(line.amount - line.amount_credited, net_left), ZERO)
            tax = max(min(line.tax_amount - line.tax_credited, tax_left), ZERO)
            if line.includes_tax:
                taken = min(price, net + tax)
                part = pricing.part_of_money(net, part=taken, of=net + tax, currency=currency)
                if taken > 0:
                    gross_parts.append(Part(line, part, taken - part))
                    net_left, tax_left, price = net_left - part, tax_left - (taken - part), price - taken
            elif (taken := min(price, net)) > 0:
                net_parts[line.pk] = taken
                net_left, price = net_left - taken, price - taken
    return [*gross_parts, *of_lines(lines, net_parts, currency)], price


def tax_with(line: InvoiceLine, amount: Decimal, currency: str) -> Decimal:
    """The tax that goes with this net amount of a line: by what is then credited in all, so that several parts have
    the tax of the whole."""
    credited = line.amount_credited + amount
    tax = pricing.part_of_money(line.tax_amount, part=credited, of=line.amount, currency=currency)
    return max(min(tax, line.tax_amount) - line.tax_credited, ZERO)


def _with_all_tax(parts: list[Part], rest: Decimal, others: Sequence[InvoiceLine]) -> list[Part]:
    """The parts, and other lines of their group where needed, with a rest of tax that rounding has left."""
    taken = {part.line.pk: part for part in parts}
    for line in [*(part.line for part in parts), *others]:
        part = taken.get(line.pk, Part(line, ZERO, ZERO))
        more = min(rest, line.tax_amount - line.tax_credited - part.tax)
        if more > 0:
            taken[line.pk], rest = Part(line, part.amount, part.tax + more), rest - more
    return list(taken.values())


def _room(group: TaxGroup, may: Callable[[InvoiceLine], bool]) -> tuple[Decimal, Decimal]:
    """Net and tax that can be credited of a group's lines."""
    lines = _positive(group, may)
    net = sum((line.amount - line.amount_credited for line in lines), ZERO)
    tax = sum((line.tax_amount - line.tax_credited for line in lines), ZERO)
    return min(net, group.net_left), min(tax, group.tax_left)


def _positive(group: TaxGroup, may: Callable[[InvoiceLine], bool]) -> list[InvoiceLine]:
    return [line for line in group.lines if line.amount > 0 and may(line)]


def _over_lines(lines: Sequence[InvoiceLine], net: Decimal, tax: Decimal, currency: str) -> list[Part]:
    nets, taxes = (
        pricing.share_money(whole, left, of=sum(left, ZERO), currency=currency)
        for whole, left in (
            (net, [line.amount - line.amount_credited for line in lines]),
            (tax, [line.tax_amount - line.tax_credited for line in lines]),
        )
    )
    return [Part(*each) for each in zip(lines, nets, taxes, strict=True) if each[1] or each[2]]
