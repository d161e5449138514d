"""What Lumen AI sells: its meters, two editions of its price list, one customer's own, its packs; and who invoices."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing.catalog import rate_cards
from billing.catalog.models import Meter, Rate, RateCard
from billing.catalog.pack_models import Pack, PackTier
from billing.invoicing import starter_rates
from billing.invoicing.models import Issuer

# What a credit costs from 1,000, 10,000 and 100,000 at once, and in the start-up's pack, by currency.
PACK_PRICES = {
    "USD": ("0.12", "0.10", "0.07", "0.08"),
    "EUR": ("0.11", "0.09", "0.065", "0.07"),
    "GBP": ("0.095", "0.08", "0.055", "0.065"),
    "CHF": ("0.105", "0.088", "0.062", "0.07"),
    "AUD": ("0.18", "0.15", "0.105", "0.12"),
    "JPY": ("18", "15", "10.5", "12"),
}


@dataclass(frozen=True, slots=True)
class Catalog:
    """The meters by key, and the two rate cards."""

    meters: dict[str, Meter]
    standard: RateCard
    contract: RateCard


def make_catalog(*, now: datetime) -> Catalog:
    """Meters, packs and the first editions of both rate cards, in force from `now`."""
    meters = {meter.key: meter for meter in _make_meters(now)}
    _make_packs(now)
    cards = []
    for key, name, is_default, discount in (
        ("standard", "Standard", True, Decimal(1)),
        ("meridian", "Meridian Bank contract", False, Decimal("0.8")),
    ):
        card = RateCard.objects.create(key=key, name=name, is_default=is_default, created_at=now)
        version = rate_cards.draft_version(rate_card_id=card.pk, now=now)
        Rate.objects.bulk_create(_first_rates(meters, discount, version_id=version.pk))
        rate_cards.publish(version_id=version.pk, effective_at=now, now=now)
        cards.append(card)
    return Catalog(meters, *cards)


def make_issuer(*, on: date) -> Issuer:
    """Lumen AI as its invoices name it, and the tax rates that come along."""
    starter_rates.load(on=on)
    return Issuer.objects.create(
        key="lumen",
        name="Lumen AI GmbH",
        address="Lichtstraße 12\n10115 Berlin",
        country="DE",
        tax_number="DE136695976",
        email="billing@lumen.example",
        iban="DE89370400440532013000",
        bic="COBADEFFXXX",
        bank_name="Commerzbank",
        footer="Lumen AI GmbH, Berlin \N{MIDDLE DOT} HRB 123456 B, Amtsgericht Charlottenburg",
        is_default=True,
    )


def publish_second_edition(catalog: Catalog, *, effective_at: datetime, now: datetime) -> None:
    """Mid-year: the small model gets cheaper, a larger one comes, GPU minutes become cheaper."""
    for card, discount in ((catalog.standard, Decimal(1)), (catalog.contract, Decimal("0.8"))):
        draft = rate_cards.draft_from(version_id=card.versions.get(number=1).pk, now=now)
        for rate in draft.rates.select_related("meter"):
            if rate.match == {"model": "lumen-mini"}:
                rate.price *= Decimal("0.75")
                rate.save(update_fields=["price"])
            elif rate.meter.key == "gpu-seconds":
                rate.price = Decimal("2.5") * discount
                rate.save(update_fields=["price"])
        for key, price in (("llm-input", 2), ("llm-output", 8)):
            Rate.objects.create(
                version=draft,
                meter=catalog.meters[key],
                match={"model": "lumen-max"},
                price=price * discount,
                unit_size=1000,
            )
        rate_cards.publish(version_id=draft.pk, effective_at=effective_at, now=now)


def _make_meters(now: datetime) -> list[Meter]:
    kinds = Meter.Kind
    return [
        Meter.objects.create(key=key, name=name, unit=unit, kind=kind, unit_cost=Decimal(cost), created_at=now, **more)
        for key, name, unit, kind, cost, more in (
            ("llm-input", "LLM input tokens", "token", kinds.COUNTER, "0.00002", {}),
            ("llm-output", "LLM output tokens", "token", kinds.COUNTER, "0.00009", {}),
            ("images", "Image generations", "image", kinds.COUNTER, "0.11", {}),
            ("gpu-seconds", "GPU time", "second", kinds.COUNTER, "0.0011", {}),
            ("vector-storage", "Vector storage", "GB-hour", kinds.GAUGE, "0.00006", {"series_property": "index"}),
            ("active-seats", "Active seats", "seat", kinds.UNIQUE, "0.4", {"unique_property": "user"}),
        )
    ]


def _first_rates(meters: dict[str, Meter], discount: Decimal, *, version_id: int) -> list[Rate]:
    """Prices in credits: tokens per 1,000, images by the month's number, GPU time by the minute begun."""
    graduated = [
        {"up_to": "500", "price": str(5 * discount)},
        {"up_to": "2000", "price": str(4 * discount)},
        {"up_to": None, "price": str(3 * discount)},
    ]
    rows: list[tuple[str, dict[str, object]]] = [
        ("llm-input", {"price": 1, "unit_size": 1000}),
        ("llm-input", {"price": Decimal("0.2"), "unit_size": 1000, "match": {"model": "lumen-mini"}}),
        ("llm-output", {"price": 4, "unit_size": 1000}),
        ("llm-output", {"price": Decimal("0.8"), "unit_size": 1000, "match": {"model": "lumen-mini"}}),
        ("images", {"model": Rate.Model.GRADUATED, "tiers": graduated}),
        ("images", {"price": 9, "match": {"quality": "hd"}}),
        ("gpu-seconds", {"model": Rate.Model.PER_PACKAGE, "price": 3, "unit_size": 60}),
        ("vector-storage", {"price": Decimal("0.004")}),
        ("active-seats", {"price": 25}),
    ]
    rates = [Rate(version_id=version_id, meter=meters[key], **fields) for key, fields in rows]
    for rate in rates:
        rate.price = rate.price * discount
    return rates


def _make_packs(now: datetime) -> None:
    """The two packs, in each currency that customers pay in."""
    for currency, (*volume, young) in PACK_PRICES.items():
        suffix = "" if currency == "USD" else f"-{currency.lower()}"
        starts = (Decimal(1_000), Decimal(10_000), Decimal(100_000))
        _make_pack(
            Pack(key=f"credits{suffix}", name="Credits", description="The more at once, the cheaper each."),
            list(zip(starts, volume, strict=True)), currency, validity_days=365, now=now,
        )  # fmt: skip
        _make_pack(
            Pack(
                key=f"startup-boost{suffix}", name="Start-up boost", target_segments=["startup"],
                description="For young companies: a few credits at the price of many.",
            ),
            [(Decimal(2_000), young)], currency, validity_days=180, now=now,
        )  # fmt: skip


def _make_pack(
    pack: Pack, tiers: list[tuple[Decimal, str]], currency: str, *, validity_days: int, now: datetime
) -> None:
    pack.currency, pack.validity_days, pack.created_at = currency, validity_days, now
    pack.min_credits, pack.max_credits, pack.step_credits = tiers[0][0], Decimal(1_000_000), Decimal(1_000)
    pack.save()
    PackTier.objects.bulk_create(
        PackTier(pack=pack, from_credits=start, unit_price=Decimal(price)) for start, price in tiers
    )
