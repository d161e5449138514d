"""Small functions that make what tests need, through the real services. One cast: alice owns, bob is in her team,
mallory is a stranger."""

import itertools
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from billing.accounts import keys, members
from billing.accounts.models import Account, ApiKey, Member, Role, Scope, User
from billing.catalog import plans, rate_cards
from billing.catalog.models import Meter, Plan, PlanPrice, PlanVersion, Rate, RateCard
from billing.catalog.pack_models import Pack, PackTier
from billing.invoicing.models import Issuer
from billing.invoicing.tax_models import TaxRate
from billing.ledger import pools, posting
from billing.ledger.models import Posting

# Long past, so that what is made here exists for doors, which read the real clock.
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)

_numbers = itertools.count(1)


def make_user(name: str = "alice", *, password: str | None = None) -> User:
    """A user with an address of their own."""
    return User.objects.create_user(f"{name}@example.com", password, name=name.title())


def make_account(external_id: str = "", *, now: datetime = NOW, **fields: object) -> Account:
    """An account with its main pool."""
    external_id = external_id or f"org-{next(_numbers)}"
    given = {"name": external_id.title(), "billing_email": f"billing@{external_id}.example", "country": "DE", **fields}
    return pools.open_account(external_id=external_id, now=now, **given)  # type: ignore[arg-type]


def make_member(account: Account, user: User, role: str = Role.MEMBER, *, now: datetime = NOW) -> Member:
    """A place in the account."""
    return members.add(account=account, user=user, role=role, now=now)


def make_key(
    account: Account | None = None, *, scopes: Collection[str] = tuple(Scope.values), now: datetime = NOW
) -> tuple[ApiKey, str]:
    """A key, with every scope unless told otherwise, and its secret."""
    return keys.issue(name="test", scopes=scopes, account=account, now=now)


def give_credits(account: Account, amount: str | Decimal, *, now: datetime = NOW, **fields: object) -> Posting:
    """Credits in the account's main pool."""
    pool = pools.get_main_pool(account.pk)
    given = {"kind": "bonus", "reference": f"test:{next(_numbers)}", **fields}
    return posting.grant(pool_id=pool.pk, amount=Decimal(amount), now=now, **given)  # type: ignore[arg-type]


def make_meter(key: str = "tokens", *, now: datetime = NOW, **fields: object) -> Meter:
    """A meter; a counter unless told otherwise."""
    given = {"name": key.title(), "unit": key.rstrip("s"), **fields}
    return Meter.objects.create(key=key, created_at=now, **given)


def make_rate_card(
    prices: dict[Meter, str], key: str = "standard", *, is_default: bool = True, now: datetime = NOW
) -> RateCard:
    """A card with one published version: credits per unit of each meter."""
    card = RateCard.objects.create(key=key, name=key.title(), is_default=is_default, created_at=now)
    version = rate_cards.draft_version(rate_card_id=card.pk, now=now)
    Rate.objects.bulk_create(
        Rate(version=version, meter=meter, price=Decimal(price)) for meter, price in prices.items()
    )
    rate_cards.publish(version_id=version.pk, effective_at=now, now=now)
    return card


def make_issuer(key: str = "lumen", *, rates: Mapping[str, str] = {"DE": "19"}, **fields: object) -> Issuer:
    """The default issuer, from Germany, and the standard tax rate of countries where it charges tax, in percent."""
    given = {
        "name": f"{key.title()} GmbH", "country": "DE", "tax_number": "DE136695976", "is_default": True,
        "tax_countries": sorted(rates), **fields,
    }  # fmt: skip
    TaxRate.objects.bulk_create(
        TaxRate(country=country, percent=Decimal(percent), valid_from=date(2020, 1, 1))
        for country, percent in rates.items()
    )
    return Issuer.objects.create(key=key, **given)


def make_plan(
    key: str = "team",
    *,
    prices: Mapping[str, Mapping[str, object]] = {"USD": {"fee": "49.00"}},
    published: bool = True,
    now: datetime = NOW,
    **fields: object,
) -> PlanVersion:
    """A plan with one version of these terms, monthly and published unless told otherwise. A price is what
    `PlanPrice` holds: {"EUR": {"fee": "49.00", "overage_tiers": [{"up_to": None, "price": "2"}]}}."""
    plan, _ = Plan.objects.get_or_create(key=key, defaults={"name": key.title(), "created_at": now})
    draft = plans.draft_version(plan_id=plan.pk, now=now)
    for name, value in fields.items():
        setattr(draft, name, value)
    draft.save()
    for currency, price in prices.items():
        PlanPrice.objects.create(version=draft, currency=currency, **price)
    return plans.publish(version_id=draft.pk, now=now) if published else draft


def make_pack(
    key: str = "credits",
    *,
    prices: Mapping[str, str] = {"1000": "0.12", "10000": "0.10", "100000": "0.07"},
    now: datetime = NOW,
    **fields: object,
) -> Pack:
    """A pack in dollars with volume tiers: price per credit by the amount that it begins with. Valid for a year."""
    given = {
        "name": key.title(), "currency": "USD", "min_credits": Decimal(min(prices, key=Decimal)),
        "max_credits": Decimal(1_000_000), "step_credits": Decimal(1_000), "validity_days": 365, **fields,
    }  # fmt: skip
    pack = Pack.objects.create(key=key, created_at=now, **given)
    PackTier.objects.bulk_create(
        PackTier(pack=pack, from_credits=Decimal(start), unit_price=Decimal(price)) for start, price in prices.items()
    )
    return pack
