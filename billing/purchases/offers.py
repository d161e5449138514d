"""What an account can buy: packs in its currency and for its segment, and what an amount of one costs. Reads only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby

from django.db.models import Q, QuerySet

from billing.accounts.models import Account
from billing.catalog.pack_models import Pack, PackTier
from billing.catalog.pricing import pack_price, percent_saved
from billing.invoicing import issuing
from billing.invoicing.lines import LineDraft
from billing.invoicing.models import InvoiceLine
from billing.ledger.models import GrantKind
from billing.wording import amounts


class PackNotForSale(LookupError):
    """There is no such pack, or it is not sold (any more) to this account."""


class AmountNotOffered(Exception):
    """The pack is not sold in this amount. All are credits: from `minimum` to `maximum` in steps of `step`."""

    def __init__(self, offer: "Offer") -> None:
        super().__init__(f"{offer.min_credits} to {offer.max_credits} in steps of {offer.step_credits}")
        self.minimum = offer.min_credits
        self.maximum = offer.max_credits
        self.step = offer.step_credits


class PoolNotFound(LookupError):
    """The account has no such pool."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The price per credit from an amount of credits on, and how much less it is than the first tier's, in whole
    percent."""

    from_credits: Decimal
    unit_price: Decimal
    saving_percent: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A pack as it is offered to an account. Money is in `currency`, net unless prices include tax; `validity_days`
    None: no end."""

    pack_id: int
    key: str
    name: str
    description: str
    currency: str
    min_credits: Decimal
    max_credits: Decimal
    step_credits: Decimal
    validity_days: int | None
    prices_include_tax: bool
    tiers: tuple[Tier, ...]

    def sells(self, credits: Decimal) -> bool:
        """Whether it is sold in this amount."""
        return self.min_credits <= credits <= self.max_credits and not (credits - self.min_credits) % self.step_credits


@dataclass(frozen=True, slots=True)
class PurchaseQuote:
    """What an amount of an offer costs one account. `subtotal` is net, `total` is what is paid, and `unit_price` is the
    offer's: net, or with the tax in it.

    The credits end `validity_days` after they are paid for. `tax_note` is a sentence that the invoice will carry.
    """

    offer: Offer
    credits: Decimal
    unit_price: Decimal
    saving_percent: int
    subtotal: Decimal
    tax_name: str
    tax_percent: Decimal
    tax_total: Decimal
    tax_note: str
    total: Decimal

    @property
    def currency(self) -> str:
        return self.offer.currency

    @property
    def validity_days(self) -> int | None:
        return self.offer.validity_days


def list_offers(*, account: Account) -> list[Offer]:
    """The packs on sale to the account, cheapest to begin with first. One query."""
    tiers = PackTier.objects.filter(pack__in=packs_for(account)).select_related("pack").order_by("pack_id")
    offers = [_offer(pack, list(of_it)) for pack, of_it in groupby(tiers, key=lambda tier: tier.pack)]
    return sorted(offers, key=lambda offer: offer.min_credits)


def packs_for(account: Account) -> QuerySet[Pack]:
    """Packs on sale in the account's currency, to everyone or to its segment."""
    for_whom = Q(target_segments=[])
    if account.segment_override:
        for_whom |= Q(target_segments__contains=[account.segment_override])
    return Pack.objects.filter(for_whom, is_active=True, currency=account.currency)


def get_offer(*, account: Account, pack_id: int) -> Offer:
    """One of the account's offers. Raises PackNotForSale."""
    offer = next((offer for offer in list_offers(account=account) if offer.pack_id == pack_id), None)
    if offer is None:
        raise PackNotForSale(pack_id)
    return offer


def quote(*, account: Account, pack_id: int, credits: Decimal, pool_id: int, on: date) -> PurchaseQuote:
    """What the purchase would cost on a day (of tax: `issuing.supply_date`); writes nothing.

    Raises PackNotForSale, AmountNotOffered, PoolNotFound, issuing.NoIssuer or tax.TaxNotPrepared.
    """
    offer = get_offer(account=account, pack_id=pack_id)
    if not account.pools.filter(pk=pool_id).exists():
        raise PoolNotFound(pool_id)
    return quote_offer(offer, account=account, credits=credits, on=on)


def quote_offer(offer: Offer, *, account: Account, credits: Decimal, on: date) -> PurchaseQuote:
    """`quote` for an offer at hand, into whichever pool. Raises AmountNotOffered, issuing.NoIssuer or
    tax.TaxNotPrepared."""
    unit_price, amount = _price(offer, credits)
    draft = LineDraft(
        description=offer.name,
        quantity=credits,
        unit_price=unit_price,
        amount=amount,
        includes_tax=offer.prices_include_tax,
    )
    cost = issuing.quote(account=account, currency=offer.currency, lines=[draft], on=on)
    line = cost.lines[0]
    return PurchaseQuote(
        offer=offer,
        credits=credits,
        unit_price=unit_price,
        saving_percent=_reached(offer, credits).saving_percent,
        subtotal=cost.subtotal,
        tax_name=line.tax_name,
        tax_percent=line.tax_percent,
        tax_total=cost.tax_total,
        tax_note=cost.tax_note,
        total=cost.total,
    )


def line_draft(offer: Offer, *, account: Account, credits: Decimal, pool_id: int) -> LineDraft:
    """The invoice line of an amount of an offer, which grants the credits to a pool of the account once it is paid.

    Raises AmountNotOffered or PoolNotFound.
    """
    unit_price, amount = _price(offer, credits)
    if not account.pools.filter(pk=pool_id).exists():
        raise PoolNotFound(pool_id)
    return LineDraft(
        description=f"{offer.name}: {amounts.exact_credits_text(credits)} credits",
        quantity=credits,
        unit_price=unit_price,
        amount=amount,
        includes_tax=offer.prices_include_tax,
        pack_id=offer.pack_id,
        pool_id=pool_id,
        credits=credits,
        grant_kind=GrantKind.PURCHASE,
        validity_days=offer.validity_days,
        recognition=InvoiceLine.Recognition.CREDITS,
    )


def _price(offer: Offer, credits: Decimal) -> tuple[Decimal, Decimal]:
    """Money per credit and for all, as the offer has it. Raises AmountNotOffered."""
    if not offer.sells(credits) or credits < offer.tiers[0].from_credits:
        raise AmountNotOffered(offer)
    prices = [(tier.from_credits, tier.unit_price) for tier in offer.tiers]
    return pack_price(prices, credits, offer.currency)


def _reached(offer: Offer, credits: Decimal) -> Tier:
    return [tier for tier in offer.tiers if tier.from_credits <= credits][-1]


def _offer(pack: Pack, tiers: list[PackTier]) -> Offer:
    return Offer(
        pack_id=pack.pk,
        key=pack.key,
        name=pack.name,
        description=pack.description,
        currency=pack.currency,
        min_credits=pack.min_credits,
        max_credits=pack.max_credits,
        step_credits=pack.step_credits,
        validity_days=pack.validity_days,
        prices_include_tax=pack.prices_include_tax,
        tiers=tuple(_tiers([(tier.from_credits, tier.unit_price) for tier in tiers])),
    )


def _tiers(prices: list[tuple[Decimal, Decimal]]) -> Iterable[Tier]:
    for from_credits, unit_price in sorted(prices):
        yield Tier(from_credits, unit_price, percent_saved(unit_price, dearest=sorted(prices)[0][1]))
