"""What the tests of buying share: a shop beside the stage, alice's forms, and cards."""

import html
import re
import uuid
from typing import Any

from django.test import Client

from billing.accounts.models import Role
from billing.invoicing.models import Invoice
from billing.payments import methods, paying
from billing.payments.models import PaymentMethod
from tests.factories import make_member, make_user
from tests.invoicing.makers import issue
from tests.portal.conftest import Stage

NEW_CARD = {"method": "new", "number": "4242 4242 4242 4242", "expiry": "12 / 40", "cvc": "123"}


def make_card(stage: Stage, number: str = "4242424242424242", *, make_default: bool = False) -> PaymentMethod:
    """A saved card of alice's account."""
    return methods.add_card(
        account_id=stage.account.pk, number=number, exp_month=12, exp_year=2040, cvc="123", make_default=make_default,
        now=stage.now,
    )  # fmt: skip


def checkout_form(stage: Stage, **fields: Any) -> dict[str, Any]:
    """A filled checkout for 10,000 credits, as the page of northwind (Germany, 19 % VAT) shows it."""
    given = {
        "act": "buy", "token": str(uuid.uuid4()), "credits": "10000", "pool": stage.pool.pk, "seen": "1190.00 USD",
        **NEW_CARD, **fields,
    }  # fmt: skip
    return given


def make_invoice(stage: Stage, reference: str = "test:1") -> Invoice:
    """An open invoice of 10,000 credits for 1,190.00 with tax."""
    return issue(stage.account, reference=reference, currency="USD", now=stage.now)


def pay_with(stage: Stage, invoice: Invoice, number: str) -> None:
    """An attempt to pay the invoice with a card of this number."""
    card = make_card(stage, number)
    paying.pay(
        invoice_id=invoice.pk, method_id=card.pk, key=f"test:{card.pk}", off_session=False,
        return_url="http://testserver/back", now=stage.now,
    )  # fmt: skip


def sign_in_as(client: Client, stage: Stage, role: str) -> None:
    """Bob signs in, who has this role in alice's account."""
    bob = make_user("bob")
    make_member(stage.account, bob, Role(role), now=stage.now)
    client.force_login(bob)


def text_of(response: Any) -> str:
    """What a page says, without its tags, blanks run together."""
    page = re.sub(r"<svg.*?</svg>", "", response.content.decode(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
