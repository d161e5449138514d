"""What is known of an account: changing it."""

from django.db import transaction

from billing.accounts import tax_ids
from billing.accounts.models import Account

CHANGEABLE = frozenset(
    {
        "name",
        "billing_email",
        "country",
        "region",
        "postal_code",
        "address",
        "tax_number",
        "segment_override",
        "account_manager",
        "gateway",
    }
)


def change(*, account_id: int, changes: dict[str, object]) -> Account:
    """Change details of an account and return it; its tax number is kept as its register writes it. Locks its row.

    `external_id`, `currency` and `time_zone` never change: integrators, money and the bounds of every period, priced
    usage included, refer to them. Raises ValueError for a field that
    may not change, and django's ValidationError for a value that does not fit.
    """
    if fixed := changes.keys() - CHANGEABLE:
        raise ValueError(f"cannot be changed: {', '.join(sorted(fixed))}")
    with transaction.atomic():
        account = Account.objects.select_for_update().get(pk=account_id)
        for name, value in changes.items():
            setattr(account, name, value)
        if changes.keys() & {"country", "tax_number"}:
            changes = {**changes, "tax_number": tax_ids.normalise(account.country, account.tax_number)}
            account.tax_number = str(changes["tax_number"])
        account.clean_fields(exclude={field.name for field in Account._meta.fields} - changes.keys())
        if changes:
            account.save(update_fields=list(changes))
    return account


def release(*, account_id: int) -> bool:
    """Let a parked account charge, hold and transfer again, once staff have examined it. False: it was not parked."""
    return bool(Account.objects.filter(pk=account_id, parked_at__isnull=False).update(parked_at=None, parked_reason=""))
