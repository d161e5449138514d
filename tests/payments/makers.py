"""Cards and payments as the tests of payments need them."""

import os
import signal
from collections.abc import Callable
from datetime import datetime

from django.db import connections

from billing.accounts.models import Account
from billing.invoicing.models import Invoice
from billing.payments import methods, paying
from billing.payments.models import Payment, PaymentMethod
from tests.factories import NOW

SUCCESS = "4242424242424242"
DECLINE = "4000000000000002"
INSUFFICIENT = "4000000000009995"
EXPIRED = "4000000000000069"
ACTION = "4000002760003184"
OFF_SESSION = "4000000000000341"
SLOW = "4000000000001018"
SLOW_DECLINE = "4000000000001026"
LOST_ANSWER = "4000000000001034"
BLACKOUT = "4000000000001042"
LATE = "4000000000001059"
VERY_LATE = "4000000000001067"
REFUND_FAILS = "4000000000001075"


def make_card(account: Account, number: str = SUCCESS, *, now: datetime = NOW, **fields: object) -> PaymentMethod:
    """A card of the account, good until the end of next year."""
    given = {"exp_month": 12, "exp_year": now.year + 1, "cvc": "123", "make_default": False, **fields}
    return methods.add_card(account_id=account.pk, number=number, now=now, **given)  # type: ignore[arg-type]


def pay(
    invoice: Invoice, number: str = SUCCESS, *, key: str = "k1", off_session: bool = False, now: datetime = NOW
) -> Payment:
    """An attempt with a card of this number."""
    card = make_card(invoice.account, number, now=now)
    return paying.pay(
        invoice_id=invoice.pk, method_id=card.pk, key=key, off_session=off_session, return_url="/back", now=now
    )


def die_in(work: Callable[[], object]) -> None:
    """Run the work in a process of its own, which must end by SIGKILL."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
