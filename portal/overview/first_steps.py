"""What a new account does first. It is shown until credits have been used."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from billing.ledger.models import CreditPool
from portal.access import Visit, managers_url


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, where, and whether it is done. Without an address someone else does it."""

    name: str
    hint: str
    url: str
    is_done: bool


def list_steps(visit: Visit, pools: Sequence[CreditPool]) -> list[Step]:
    """The steps in order; none once the account has used anything. Needs `has_key` and `has_usage` on the pools."""
    main = pools[0]
    if main.has_usage or any(pool.cycle_spent for pool in pools):  # type: ignore[attr-defined]
        return []
    return [
        Step(
            _("Get credits"),
            _("Buy a pack. Credits arrive as soon as it is paid."),
            managers_url(visit, "buy"),
            any(pool.version for pool in pools),
        ),
        Step(
            _("Create an API key"),
            _("It lets your programs read the balance and report usage for this account only."),
            managers_url(visit, "api_keys"),
            main.has_key,  # type: ignore[attr-defined]
        ),
        Step(
            _("Send the first event"),
            _("The quick start has a line to paste. What it costs shows here within seconds."),
            visit.url("help") + "#api",
            False,
        ),
    ]
