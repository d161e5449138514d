"""The proof against the gateway's own books: of each charge, what came and stayed there, and what the rows here say."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from django.db.models import Q, Sum

from billing.finance.proof import Check
from billing.payments.gateways import registry
from billing.payments.gateways.contract import Movement
from billing.payments.models import Payment, Refund

ZERO = Decimal(0)
Key = tuple[str, str]


def compare(*, name: str, movements: Iterable[Movement]) -> list[Check]:
    """One check for each currency, and one more for each charge that differs. Charges that carry no key of ours are
    left out, as are those whose payment is still under way."""
    there, ours = _there(movements), _here(name)
    live = set(Payment.objects.filter(gateway=name, state__in=Payment.LIVE).values_list("idempotency_key", flat=True))
    keys = {key: money for key, (money, of) in there.items() if key in ours or (of and of not in live)}
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    differing = []
    for key in sorted(keys.keys() | ours.keys()):
        currency, reference = key
        pair = (keys.get(key, ZERO), ours.get(key, ZERO))
        sums[currency] = [total + part for total, part in zip(sums[currency], pair, strict=True)]
        if pair[0] != pair[1]:
            differing.append(Check(currency, f"{name}: {reference} = its payments - refunds - disputes", *pair))
    whole = [
        Check(currency, f"{name}: all charges = payments - refunds - disputes", one, other)
        for currency, (one, other) in sorted(sums.items())
    ]
    return [*whole, *differing]


def _there(movements: Iterable[Movement]) -> dict[Key, tuple[Decimal, str]]:
    """What has come and stayed by the gateway's balance, and the key that its charge carries."""
    found: dict[Key, tuple[Decimal, str]] = {}
    for each in movements:
        money, key = found.get((each.currency, each.charge_reference), (ZERO, ""))
        found[each.currency, each.charge_reference] = (money + each.amount, key or each.key)
    return found


def _here(name: str) -> dict[Key, Decimal]:
    """What our rows say of each charge. Money that paid another invoice from the invoice balance has not moved."""
    rows = Payment.objects.filter(gateway=name, state=Payment.State.SUCCEEDED).exclude(gateway_reference="")
    came: dict[Key, Decimal] = defaultdict(Decimal)
    gone: dict[Key, Decimal] = defaultdict(Decimal)
    of = ("currency", "gateway_reference")
    by_charge = rows.values_list(*of).order_by(*of)
    for currency, reference, amount, disputed in by_charge.annotate(
        came=Sum("amount", filter=Q(invoice_credit=None), default=ZERO), held=Sum("amount_disputed")
    ):
        came[currency, reference] += amount
        gone[currency, reference] += disputed
    refunds = Refund.objects.filter(payment__in=rows, state=Refund.State.SUCCEEDED, invoice_credit=None)
    of = ("payment__currency", "payment__gateway_reference")
    for currency, reference, amount in refunds.values_list(*of).order_by(*of).annotate(sum=Sum("amount")):
        gone[currency, reference] += amount
    return {
        key: registry.rounded(name, money, key[0]) - registry.rounded(name, gone[key], key[0])
        for key, money in came.items()
    }
