"""Which gateway collects from whom."""

import pytest

from billing.accounts.models import Account
from billing.payments.gateways import contract, registry


@pytest.mark.parametrize(
    ("currency", "own", "chosen"),
    [("EUR", "", "stripe"), ("USD", "", "sandbox"), ("EUR", "manual", "manual"), ("USD", "stripe", "stripe")],
)
def test_an_accounts_own_gateway_comes_before_its_currencys_and_that_before_everybodys(settings, currency, own, chosen):
    settings.FLORIN_GATEWAYS = {"EUR": "stripe"}
    assert registry.choose(Account(currency=currency, gateway=own)) == chosen


def test_without_any_gateway_nobody_is_chosen_and_no_cards_come(settings):
    settings.FLORIN_GATEWAY = ""
    account = Account(currency="EUR")
    with pytest.raises(contract.NoGateway):
        registry.choose(account)
    assert registry.how_cards_come(account) == "none"


def test_cards_come_in_a_form_of_ours_on_a_page_of_theirs_or_not_at_all(settings):
    settings.FLORIN_STRIPE_SECRET_KEY = "sk_test_1"
    ways = {name: registry.how_cards_come(Account(gateway=name)) for name in ("sandbox", "stripe", "manual")}
    assert ways == {"sandbox": "form", "stripe": "page", "manual": "none"}


def test_a_gateway_without_its_settings_cannot_be_reached(settings):
    assert registry.is_reachable("sandbox")
    settings.FLORIN_GATEWAY = "manual"
    assert not registry.is_reachable("sandbox")
    assert not registry.is_reachable("stripe")
    assert registry.is_reachable("manual")
    settings.FLORIN_GATEWAYS = {"XTS": "sandbox"}
    assert registry.is_reachable("sandbox")
