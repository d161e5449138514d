"""Changing what an account pays in, while nothing has been priced in its currency. Locks: the account's row."""

from django.db import transaction
from django.db.models import Exists, OuterRef

from billing.accounts.models import Account
from billing.catalog import currencies
from billing.invoicing.models import Invoice, PendingItem
from billing.ledger.models import CreditGrant
from billing.purchases.models import TopUpRule
from billing.subscriptions.models import Subscription


class CurrencyFixed(Exception):
    """Something of the account is priced in its currency already: an invoice, a plan, a top-up, credits with a cost."""


class NotSold(Exception):
    """Nothing is on sale in this currency."""


def is_changeable(account_id: int) -> bool:
    """Whether the account may still change its currency: it has no invoice and nothing else is priced in it. One
    query."""
    priced = (
        Exists(Invoice.objects.filter(account=OuterRef("pk")))
        | Exists(PendingItem.objects.filter(account=OuterRef("pk")))
        | Exists(Subscription.objects.filter(account=OuterRef("pk")))
        | Exists(TopUpRule.objects.filter(pool__account=OuterRef("pk")))
        | Exists(CreditGrant.objects.filter(pool__account=OuterRef("pk"), cost_basis__gt=0))
    )
    return Account.objects.filter(~priced, pk=account_id).exists()


def change(*, account_id: int, currency: str) -> Account:
    """Change the account's currency and return it. Raises NotSold or CurrencyFixed; nothing is written then."""
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
        if currency not in currencies.list_sold():
            raise NotSold(currency)
        if not is_changeable(account_id):
            raise CurrencyFixed(account_id)
        account.currency = currency
        account.save(update_fields=["currency"])
        return account
