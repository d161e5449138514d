"""Which tax engine is configured, and how an act goes on that finds its tax not prepared. Locks nothing."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from django.conf import settings
from django.db import transaction

from billing.invoicing import table_tax
from billing.invoicing.tax import Engine, Sale, TaxNotPrepared

Answer = TypeVar("Answer")

# An act may ask about a few sales before it settles on its lines: with pending credits on them, and without.
MOST_TRIES = 12


def current() -> Engine:
    """The engine that FLORIN_TAX_ENGINE names."""
    if settings.FLORIN_TAX_ENGINE == "stripe":
        from billing.invoicing import stripe_tax

        return stripe_tax
    return table_tax


def prepare(sale: Sale, *, now: datetime) -> None:
    """Let the engine work out the tax of a sale. Raises RuntimeError inside a transaction (the one around a test does
    not count), and TaxUnavailable."""
    with transaction.atomic(durable=True):
        pass
    current().prepare(sale, now=now)


def with_tax(act: Callable[[], Answer], *, now: datetime) -> Answer:
    """Do what quotes or issues; where the engine must be asked first, ask it once the act's transaction has rolled
    back, and do it again. Must be called outside of any transaction. Raises TaxUnavailable and what the act raises."""
    for _ in range(MOST_TRIES):
        try:
            return act()
        except TaxNotPrepared as missing:
            prepare(missing.sale, now=now)
    return act()
