"""Buying a pack: one purchase, invoice and payment per form token, however often and however fast the form is sent.

Locks: the issuer's row, while the invoice gets its number. Equal requests wait at its reference.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.accounts.models import Account
from billing.invoicing import crediting, engines, issuing
from billing.invoicing.models import Invoice
from billing.payments import paying, voiding
from billing.payments.models import Payment
from billing.purchases import abandoned, offers
from billing.purchases.models import Purchase


class TokenConflict(Exception):
    """The token stands for another purchase already."""


class PurchaseNotFound(LookupError):
    """The account has no purchase of this token."""


class NotCancellable(Exception):
    """The purchase is paid, or may be any moment."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a purchase stands. `payment` is the last attempt to collect its invoice, if there was one.

    `state` is `paid`, `void`, or while the invoice is open the payment's own: `failed`, `requires_action`,
    `processing` (also while it is only begun), `unknown`; `open` when none has been tried.
    """

    purchase: Purchase
    invoice: Invoice
    payment: Payment | None

    @property
    def state(self) -> str:
        if self.invoice.state == Invoice.State.PAID:
            return "paid"
        if self.invoice.state == Invoice.State.VOID:
            return "void"
        if self.payment is None:
            return "open"
        state = Payment.State(self.payment.state)
        # An attempt that has succeeded has paid the invoice; who sees one before the other has read in between.
        return "processing" if state in (Payment.State.CREATED, Payment.State.SUCCEEDED) else state.value


def buy(
    *,
    token: uuid.UUID,
    account_id: int,
    pack_id: int,
    pool_id: int,
    credits: Decimal,
    method_id: int,
    buyer_id: int | None,
    return_url: str,
    now: datetime,
) -> Purchase:
    """Buy `credits` of a pack for a pool and charge a payment method: `place`, then the gateway, outside of any
    transaction.

    The same token again gives the same purchase and charges nothing more, whatever became of the first attempt: a
    declined purchase leaves an open invoice, to be paid by an attempt of its own within a day (`abandoned`). Raises
    what `place` raises, but for tax.TaxNotPrepared, and tax.TaxUnavailable.
    """
    purchase = engines.with_tax(
        lambda: place(
            token=token, account_id=account_id, pack_id=pack_id, pool_id=pool_id, credits=credits,
            method_id=method_id, buyer_id=buyer_id, now=now,
        ),
        now=now,
    )  # fmt: skip
    payment = Payment.objects.filter(idempotency_key=payment_key(token), state=Payment.State.CREATED).first()
    if payment is not None:
        paying.submit(payment_id=payment.pk, return_url=return_url, now=now)
        purchase.invoice.refresh_from_db()
    if purchase.invoice.state == Invoice.State.PAID:
        abandoned.void_replaced(account_id=account_id, now=now)
    return purchase


def place(
    *,
    token: uuid.UUID,
    account_id: int,
    pack_id: int,
    pool_id: int,
    credits: Decimal,
    method_id: int,
    buyer_id: int | None,
    now: datetime,
) -> Purchase:
    """Write the purchase, its invoice and a payment that has still to be submitted: one transaction, once per token.

    What costs nothing is paid and granted at once, without a payment. Raises TokenConflict when the token stands for
    something else, and else, only for a token that is new: offers.PackNotForSale, AmountNotOffered, PoolNotFound,
    issuing.NoIssuer, tax.TaxNotPrepared, paying.MethodNotUsable. Nothing is written then.
    """
    fingerprint = _digest(account_id, pack_id, pool_id, credits.normalize(), method_id)
    if (first := _find(token, fingerprint)) is not None:
        return first
    account = Account.objects.get(pk=account_id)
    offer = offers.get_offer(account=account, pack_id=pack_id)
    draft = offers.line_draft(offer, account=account, credits=credits, pool_id=pool_id)
    with transaction.atomic():
        try:
            invoice = issuing.issue(
                account_id=account_id, reference=f"purchase:{token}", currency=offer.currency, lines=[draft], now=now,
                due_at=now + abandoned.PAYABLE_FOR, asks_transfer=False,
            )  # fmt: skip
        except issuing.ReferenceTaken:
            raise TokenConflict(token) from None
        # Whoever came second has waited in there, and now sees what the first has written.
        if (first := _find(token, fingerprint)) is not None:
            return first
        purchase = Purchase.objects.create(
            account=account, token=token, fingerprint=fingerprint, pack_id=pack_id, pool_id=pool_id, credits=credits,
            invoice=invoice, buyer_id=buyer_id, created_at=now,
        )  # fmt: skip
        if invoice.state == Invoice.State.OPEN:
            paying.start(invoice_id=invoice.pk, method_id=method_id, key=payment_key(token), off_session=False, now=now)
        return purchase


def cancel(*, account_id: int, token: uuid.UUID, now: datetime) -> Purchase:
    """Give up a purchase that was not paid: its invoice becomes void. Again it changes nothing.

    Locks the invoice's row. Raises PurchaseNotFound, and NotCancellable when it is paid or a payment is under way.
    """
    with transaction.atomic():
        found = Purchase.objects.filter(account=account_id, token=token).select_related("invoice", "pack")
        purchase = found.select_for_update(of=("invoice",)).first()
        if purchase is None:
            raise PurchaseNotFound(token)
        try:
            purchase.invoice = voiding.void(invoice_id=purchase.invoice_id, now=now)
        except (paying.PaymentUnderWay, crediting.NotVoidable) as error:
            raise NotCancellable(str(error)) from error
        return purchase


def find_standing(*, account_id: int, token: uuid.UUID) -> Standing | None:
    """How the account's purchase of this token stands; None when it has none."""
    purchase = Purchase.objects.select_related("invoice", "pack", "pool").filter(account=account_id, token=token)
    found = purchase.first()
    return None if found is None else standing_of(found)


def standing_of(purchase: Purchase) -> Standing:
    """How a purchase stands, by the last attempt to collect its invoice."""
    return list_standings([purchase])[0]


def list_standings(purchases: Sequence[Purchase]) -> list[Standing]:
    """How each of some purchases stands: one query for all their payments. Their invoices should be at hand."""
    payments = Payment.objects.filter(invoice__in=[purchase.invoice_id for purchase in purchases])
    last = {payment.invoice_id: payment for payment in payments.select_related("invoice", "method").order_by("pk")}
    return [Standing(each, each.invoice, last.get(each.invoice_id)) for each in purchases]


def payment_key(token: uuid.UUID) -> str:
    """The idempotency key of a purchase's own payment."""
    return f"purchase:{token}"


def _find(token: uuid.UUID, fingerprint: bytes) -> Purchase | None:
    purchase = Purchase.objects.select_related("invoice").filter(token=token).first()
    if purchase is not None and bytes(purchase.fingerprint) != fingerprint:
        raise TokenConflict(token)
    return purchase


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
