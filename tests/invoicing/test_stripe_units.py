"""Amounts as Stripe counts them, by its page on currencies."""

from decimal import Decimal

import pytest

from billing.invoicing import stripe_units

D = Decimal


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [
        ("10.00", "USD", 1_000),
        ("500", "JPY", 500),
        # Two decimals that are always zero.
        ("5", "UGX", 500),
        ("5", "ISK", 500),
        # Payouts of forints and new dollars are whole; charges need not be.
        ("10.45", "HUF", 1_045),
        ("800.45", "TWD", 80_045),
        ("5.120", "KWD", 5_120),
        # Two decimals by ISO 4217, none at Stripe.
        ("7", "MGA", 7),
    ],
)
def test_an_amount_is_said_in_stripes_units_and_read_back(amount, currency, units):
    assert stripe_units.exact(D(amount), currency) == units
    assert stripe_units.nearest(D(amount), currency) == units
    assert stripe_units.chargeable(D(amount), currency) == D(amount)
    assert stripe_units.amount_of(units, currency) == D(amount)


@pytest.mark.parametrize(
    ("amount", "currency", "nearest", "chargeable"),
    [
        ("5.40", "UGX", 540, "5"),
        ("5.50", "ISK", 550, "6"),
        ("5.124", "KWD", 5_124, "5.120"),
        ("5.125", "OMR", 5_125, "5.130"),
        ("10.50", "MGA", 11, "11"),
        ("0.5", "JPY", 1, "1"),
    ],
)
def test_what_stripe_cannot_charge_is_rounded_and_can_be_asked_about(amount, currency, nearest, chargeable):
    assert stripe_units.chargeable(D(amount), currency) == D(chargeable)
    with pytest.raises(stripe_units.NotChargeable):
        stripe_units.exact(D(amount), currency)
    assert stripe_units.nearest(D(amount), currency) == nearest
