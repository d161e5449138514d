import itertools

import pytest

from billing.payments import methods, paying
from billing.payments.gateways import contract, registry
from billing.payments.models import PaymentMethod
from billing.payments.sandbox_models import SandboxCard
from tests.factories import NOW, make_account
from tests.invoicing.makers import issue
from tests.ledger.racing import race
from tests.payments import makers
from tests.payments.makers import make_card

NUMBERS = itertools.count()


def defaults(account) -> list[int]:
    return list(PaymentMethod.objects.filter(account=account, is_default=True).values_list("pk", flat=True))


def test_the_default_is_the_first_until_another_is_chosen_or_it_is_removed(account):
    first, second = make_card(account), make_card(account)
    assert methods.find_default(account.pk) == first
    assert [method.pk for method in methods.list_methods(account.pk)] == [first.pk, second.pk]
    assert methods.set_default(account_id=account.pk, method_id=second.pk, now=NOW).is_default
    assert defaults(account) == [second.pk]
    methods.remove(account_id=account.pk, method_id=second.pk, now=NOW)
    assert methods.find_default(account.pk) is None
    assert [method.pk for method in methods.list_methods(account.pk)] == [first.pk]
    third = make_card(account)
    assert defaults(account) == [third.pk]


def test_a_card_that_is_declined_on_its_first_use_is_not_the_default_until_it_has_paid(account):
    declined = make_card(account, makers.DECLINE)
    assert pay_with(account, declined).state == "failed"
    assert methods.find_default(account.pk) is None
    good = make_card(account)
    assert defaults(account) == [good.pk]
    methods.set_default(account_id=account.pk, method_id=declined.pk, now=NOW)
    pay_with(account, good)
    # One that is to take the place of a good card, and fails, gives it back.
    pay_with(account, declined)
    assert defaults(account) == [good.pk]
    # Which may be declined now and then.
    SandboxCard.objects.filter(reference=good.gateway_reference).update(behaviour="decline")
    assert pay_with(account, good).state == "failed"
    assert defaults(account) == [good.pk]


def test_a_card_that_pays_where_there_is_no_default_becomes_it(account):
    card = make_card(account)
    pay_with(account, make_card(account, makers.DECLINE, make_default=True))
    assert defaults(account) == []
    assert pay_with(account, card).state == "succeeded"
    assert defaults(account) == [card.pk]


def pay_with(account, card):
    invoice = issue(account, reference=f"r:{next(NUMBERS)}")
    return paying.pay(invoice_id=invoice.pk, method_id=card.pk, key=invoice.reference, off_session=False, now=NOW)


def test_another_accounts_method_is_neither_made_default_nor_removed(account):
    foreign = make_card(make_account("evil"))
    with pytest.raises(methods.MethodNotUsable):
        methods.set_default(account_id=account.pk, method_id=foreign.pk, now=NOW)
    with pytest.raises(methods.MethodNotUsable):
        methods.remove(account_id=account.pk, method_id=foreign.pk, now=NOW)
    foreign.refresh_from_db()
    assert (foreign.is_default, foreign.removed_at) == (True, None)


def test_a_gateway_that_is_not_configured_is_not_used(account, settings):
    settings.FLORIN_GATEWAY = ""
    with pytest.raises(contract.NoGateway):
        make_card(account)
    with pytest.raises(contract.NoGateway):
        registry.get("sandbox")
    assert not PaymentMethod.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_cards_added_and_chosen_at_once_one_is_the_default(transactional_db, account):
    cards = [make_card(account) for _ in range(4)]

    def add():
        make_card(account, make_default=True)

    def choose(pk: int):
        return lambda: methods.set_default(account_id=account.pk, method_id=pk, now=NOW)

    assert race([add] * 4 + [choose(card.pk) for card in cards]) == {"done": 8}
    assert len(defaults(account)) == 1
    assert PaymentMethod.objects.count() == 8
