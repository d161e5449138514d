"""Forms of the notifications pages: what a member wants to be told, and when a pool is low."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.utils.translation import gettext as _

from billing.catalog.models import MAX_CREDITS
from billing.ledger.models import CreditPool
from billing.notifications.models import Channel
from billing.notifications.preferences import Wish


@dataclass(frozen=True, slots=True)
class WishRow:
    """A kind with its two checkboxes."""

    wish: Wish
    email: BoundField
    inbox: BoundField


class WishesForm(forms.Form):
    """A checkbox for each kind that concerns the member, and channel."""

    def __init__(self, *args: Any, wishes: Sequence[Wish], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wishes = wishes
        for wish in wishes:
            for channel, label, wanted, fixed in (
                (Channel.EMAIL, _("%(kind)s by e-mail"), wish.by_email, False),
                (Channel.INBOX, _("%(kind)s in the inbox"), wish.in_inbox, wish.inbox_fixed),
            ):
                label = label % {"kind": wish.kind.label}
                self.fields[f"{wish.kind.name}-{channel}"] = forms.BooleanField(
                    label=label,
                    required=False,
                    initial=wanted,
                    disabled=fixed,
                    widget=forms.CheckboxInput(attrs={"aria-label": label}),
                )

    @property
    def rows(self) -> list[WishRow]:
        """The kinds with their checkboxes, in order."""
        return [
            WishRow(wish, self[f"{wish.kind.name}-{Channel.EMAIL}"], self[f"{wish.kind.name}-{Channel.INBOX}"])
            for wish in self.wishes
        ]

    @property
    def choices(self) -> dict[tuple[str, str], bool]:
        """What a valid form says, by kind and channel."""
        return {
            (wish.kind.name, channel): self.cleaned_data[f"{wish.kind.name}-{channel}"]
            for wish in self.wishes
            for channel in Channel
        }


class LowBalanceForm(forms.Form):
    """Below how many credits each pool counts as low; empty for never."""

    def __init__(self, *args: Any, pools: Sequence[tuple[CreditPool, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pools = [pool for pool, _remaining in pools]
        for pool, remaining in pools:
            below = pool.low_balance_below
            self.fields[f"below-{pool.pk}"] = forms.DecimalField(
                label=_("Credits in %(pool)s") % {"pool": pool.name},
                required=False,
                localize=False,
                max_digits=24,
                decimal_places=6,
                min_value=Decimal("0.000001"),
                max_value=Decimal(MAX_CREDITS) - 1,
                initial=None if below is None else f"{below.normalize():f}",
                help_text=_("%(credits)s left now. Empty: nobody is told.") % {"credits": remaining},
                widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
            )

    @property
    def changes(self) -> dict[int, Decimal | None]:
        """What a valid form changes, by the pool's id."""
        typed = {pool: self.cleaned_data[f"below-{pool.pk}"] for pool in self.pools}
        return {pool.pk: below for pool, below in typed.items() if below != pool.low_balance_below}
