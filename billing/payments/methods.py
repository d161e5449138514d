"""The ways to pay that an account has. Locks: the account's row, for what concerns several of its methods."""

import secrets
from datetime import datetime

from django.db import transaction

from billing.accounts.models import Account
from billing.payments import waking
from billing.payments.gateways import registry
from billing.payments.gateways.contract import StoredCard
from billing.payments.models import Payment, PaymentMethod

MAX_METHODS = 20


class MethodNotUsable(Exception):
    """The account has no such method, or it was removed."""


class TooManyMethods(Exception):
    """The account has as many methods as it may."""


def list_methods(account_id: int) -> list[PaymentMethod]:
    """The account's methods: the default first, then the newest."""
    kept = PaymentMethod.objects.filter(account_id=account_id, removed_at=None)
    return list(kept.order_by("-is_default", "-pk"))


def find_default(account_id: int) -> PaymentMethod | None:
    """The method that is charged when none is named."""
    return PaymentMethod.objects.filter(account_id=account_id, is_default=True).first()


def get_usable(*, account_id: int, method_id: int) -> PaymentMethod:
    """A method of the account that may be charged. Raises MethodNotUsable."""
    method = PaymentMethod.objects.filter(pk=method_id, account_id=account_id, removed_at=None).first()
    if method is None:
        raise MethodNotUsable
    return method


def add_card(
    *,
    account_id: int,
    number: str,
    exp_month: int,
    exp_year: int,
    cvc: str,
    make_default: bool,
    key: str = "",
    now: datetime,
) -> PaymentMethod:
    """Give a card to the gateway to keep, and add what it calls it. Without a default the card becomes it.

    With a `key` (a rendered form's) it is added once, however often and however fast the form is sent.

    We keep brand, last four digits and expiry. Must run outside a transaction. Raises gateway.InvalidCard (with
    `errors` by field), TooManyMethods, gateway.CardsOnPage, gateway.NoGateway, gateway.GatewayUnavailable.
    """
    name = registry.choose(Account.objects.get(pk=account_id))
    store = registry.card_form(name)
    refuse_too_many(account_id)
    card = store.store_card(
        key=f"{account_id}:{key or secrets.token_hex(16)}",
        number=number,
        exp_month=exp_month,
        exp_year=exp_year,
        cvc=cvc,
        now=now,
    )
    return keep(account_id=account_id, gateway_name=name, card=card, make_default=make_default, now=now)


def refuse_too_many(account_id: int) -> None:
    """Raise TooManyMethods when the account may have no more."""
    if PaymentMethod.objects.filter(account_id=account_id, removed_at=None).count() >= MAX_METHODS:
        raise TooManyMethods


def keep(
    *,
    account_id: int,
    gateway_name: str,
    card: StoredCard,
    make_default: bool,
    customer_reference: str = "",
    now: datetime,
) -> PaymentMethod:
    """Add a card that the gateway has, once: a repeat returns the first row. Without a default it becomes it, until it
    is declined on its first use; to a new default is charged at once what is overdue."""
    with transaction.atomic():
        _lock(account_id)
        known = PaymentMethod.objects.filter(gateway=gateway_name, gateway_reference=card.reference).first()
        if known is not None:
            return known
        default = find_default(account_id)
        if default is not None and make_default:
            PaymentMethod.objects.filter(pk=default.pk).update(is_default=False)
        method = PaymentMethod.objects.create(
            account_id=account_id,
            gateway=gateway_name,
            gateway_reference=card.reference,
            customer_reference=customer_reference,
            brand=card.brand,
            last4=card.last4,
            exp_month=card.exp_month,
            exp_year=card.exp_year,
            is_default=make_default or default is None,
            created_at=now,
        )
        if method.is_default:
            waking.retry_soon(account_id=account_id, method_id=method.pk, now=now)
        return method


def set_default(*, account_id: int, method_id: int, now: datetime) -> PaymentMethod:
    """Charge this method when none is named, and at once for what is overdue. Raises MethodNotUsable."""
    with transaction.atomic():
        _lock(account_id)
        method = get_usable(account_id=account_id, method_id=method_id)
        PaymentMethod.objects.filter(account_id=account_id, is_default=True).update(is_default=False)
        method.is_default = True
        method.save(update_fields=["is_default"])
        waking.retry_soon(account_id=account_id, method_id=method.pk, now=now)
        return method


def note_success(*, method_id: int) -> None:
    """Let a card that has paid be the default of an account that has none. Locks the account's row."""
    method = PaymentMethod.objects.get(pk=method_id)
    if method.removed_at is not None or method.is_default or find_default(method.account_id) is not None:
        return
    _lock(method.account_id)
    if find_default(method.account_id) is None:
        PaymentMethod.objects.filter(pk=method_id, removed_at=None).update(is_default=True)


def note_decline(*, invoice_id: int, method_id: int) -> None:
    """Let a card that was declined while its customer was there, and has never paid, no longer be the default; the one
    that paid last is it again, if there is one. Where the invoice is collected, it goes on being tried for that one.
    Locks the account's row, then the collection's."""
    method = PaymentMethod.objects.get(pk=method_id)
    paid = Payment.objects.filter(state=Payment.State.SUCCEEDED)
    if not method.is_default or paid.filter(method=method_id).exists():
        return
    _lock(method.account_id)
    if not PaymentMethod.objects.filter(pk=method_id, is_default=True).update(is_default=False):
        return
    waking.keep_method(invoice_id=invoice_id, method_id=method_id)
    kept = paid.filter(method__account=method.account_id, method__removed_at=None).order_by("-finished_at", "-pk")
    if (last := kept.values_list("method", flat=True).first()) is not None:
        PaymentMethod.objects.filter(pk=last).update(is_default=True)


def remove(*, account_id: int, method_id: int, now: datetime) -> PaymentMethod:
    """Charge this method no more; payments under way go on. No other one becomes the default by itself.

    Removing it again changes nothing. Raises MethodNotUsable when the account never had it.
    """
    with transaction.atomic():
        _lock(account_id)
        method = PaymentMethod.objects.filter(pk=method_id, account_id=account_id).first()
        if method is None:
            raise MethodNotUsable
        if method.removed_at is None:
            method.removed_at, method.is_default = now, False
            method.save(update_fields=["removed_at", "is_default"])
        return method


def _lock(account_id: int) -> None:
    Account.objects.select_for_update(no_key=True).get(pk=account_id)
