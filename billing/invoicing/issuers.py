"""Which issuer invoices."""

from django.db import transaction

from billing.invoicing.models import Issuer


def make_default(*, issuer_id: int) -> Issuer:
    """Let this issuer issue what is sold from now on; what others have issued stays theirs. Locks all issuers' rows."""
    with transaction.atomic():
        issuers = {issuer.pk: issuer for issuer in Issuer.objects.select_for_update(no_key=True).order_by("pk")}
        chosen = issuers[issuer_id]
        # One after the other: the database lets no two be the default at any moment.
        for issuer in sorted(issuers.values(), key=lambda each: each.pk == issuer_id):
            if issuer.is_default != (issuer.pk == issuer_id):
                issuer.is_default = issuer.pk == issuer_id
                issuer.save(update_fields=["is_default"])
        return chosen
