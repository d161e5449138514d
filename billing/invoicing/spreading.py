"""What of an invoice can still be credited, per rate of tax, and how an amount of money is spread over its lines.

Negative lines (discounts, unused time) lower what was charged at their rate of tax, so at most that much can be
credited of the other lines with that rate. Pure arithmetic on rows that the caller has read, and locked where it
writes.
"""

from collections.abc import Callable, Iterable, Sequence
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
