"""A card from one rendered form is kept once."""

from functools import partial

import pytest

from billing.payments import methods
from billing.payments.models import PaymentMethod
from billing.payments.sandbox_models import SandboxCard
from tests.factories import make_account
from tests.ledger.racing import race
from tests.payments.makers import make_card


def test_the_same_key_adds_the_card_once(account):
    first, again = make_card(account, key="form:1"), make_card(account, key="form:1")
    assert first == again
    assert PaymentMethod.objects.count() == SandboxCard.objects.count() == 1


def test_other_keys_other_accounts_and_no_key_add_one_each(account):
    other = make_account("other")
    cards = {make_card(account, key="form:1"), make_card(account, key="form:2"), make_card(other, key="form:1")}
    assert len(cards | {make_card(account), make_card(account)}) == 5


@pytest.mark.django_db(transaction=True)
def test_a_form_sent_many_times_at_once_adds_one_card(account):
    race([partial(make_card, account, key="form:1") for _ in range(10)])
    card = PaymentMethod.objects.get()
    assert card.is_default
    race([partial(make_card, account, key=f"form:{number}") for number in range(2, 12)])
    assert len(methods.list_methods(account.pk)) == 11
