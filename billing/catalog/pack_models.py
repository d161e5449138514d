"""What is sold once: packs of credits with prices by volume."""

from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from djmoney.models.fields import CurrencyField

from billing.accounts.text import Name
from billing.catalog.models import KEY_VALIDATOR, MAX_CREDITS


class Pack(models.Model):
    """A one-off amount of credits for sale, priced by volume (`PackTier`): the tier of the amount prices all of it.

    The buyer chooses an amount of credits from `min_credits` to `max_credits` in steps of `step_credits`. A pack is a
    draft until it is put on sale (`is_active`), which fixes its amounts and prices, and is retired for good.
    """

    key = models.CharField(max_length=60, unique=True, validators=[KEY_VALIDATOR])
    name = Name(max_length=120)
    description = Name(max_length=300, blank=True)
    currency = CurrencyField(default="USD")
    min_credits = models.DecimalField(max_digits=24, decimal_places=6)
    max_credits = models.DecimalField(max_digits=24, decimal_places=6)
    step_credits = models.DecimalField(max_digits=24, decimal_places=6, default=1)
    validity_days = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the credits never expire.")
    target_segments = ArrayField(models.CharField(max_length=40), default=list, blank=True, help_text="Empty: all.")
    prices_include_tax = models.BooleanField(default=False, help_text="What a buyer pays is the price as it stands.")
    is_active = models.BooleanField(default=True, help_text="On sale.")
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(name="pack_retired_is_not_sold", condition=Q(retired_at=None) | Q(is_active=False)),
            models.CheckConstraint(
                name="pack_amounts_sane",
                condition=Q(min_credits__gt=0)
                & Q(max_credits__gte=F("min_credits"))
                & Q(max_credits__lt=MAX_CREDITS)
                & Q(step_credits__gt=0, step_credits__lt=MAX_CREDITS),
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        """draft, on sale or retired."""
        if self.is_active:
            return "on sale"
        return "retired" if self.retired_at else "draft"


class PackTier(models.Model):
    """The price of one credit when at least `from_credits` are bought at once."""

    pack = models.ForeignKey(Pack, on_delete=models.CASCADE, related_name="tiers")
    from_credits = models.DecimalField(max_digits=24, decimal_places=6)
    unit_price = models.DecimalField(max_digits=18, decimal_places=9, help_text="Money per credit, pack's currency.")

    class Meta:
        ordering = ("from_credits",)
        constraints = (
            models.UniqueConstraint(fields=("pack", "from_credits"), name="pack_tier_unique"),
            models.CheckConstraint(
                name="pack_tier_sane",
                condition=Q(from_credits__gt=0, from_credits__lt=MAX_CREDITS)
                & Q(unit_price__gte=0, unit_price__lt=Decimal(999_999_999)),
            ),
        )

    def __str__(self) -> str:
        return f"from {self.from_credits.normalize():f}: {self.unit_price.normalize():f}"
