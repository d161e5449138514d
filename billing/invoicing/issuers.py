"""Which issuer invoices: the default one, and for test accounts a copy of it that has numbers of its own."""

from typing import Any

from django.db import transaction

from billing.invoicing.models import Issuer

TEST_KEY = "test-accounts"
TEST_INVOICES, TEST_CREDIT_NOTES = "TESTINV-", "TESTCN-"
NAME_LENGTH = 200
# What a copy says as its original does. It names no bank account: nobody shall transfer money for a test.
_COPIED = (
    "address", "country", "tax_number", "email", "tax_countries", "payment_terms_days", "footer", "base_currency",
)  # fmt: skip


def copy_for_tests(issuer: Issuer) -> Issuer:
    """The issuer as documents of test accounts name it; not saved."""
    return Issuer(**_facts(issuer))


def get_test_issuer(issuer: Issuer) -> Issuer:
    """The issuer of test accounts, made when it is first needed, and brought up to what `issuer`, the default one, says
    now."""
    facts = _facts(issuer)
    found, is_new = Issuer.objects.get_or_create(is_test=True, defaults=facts)
    if not is_new and any(getattr(found, name) != value for name, value in facts.items()):
        Issuer.objects.filter(pk=found.pk).update(**facts)
        found.refresh_from_db()
    return found


def _facts(issuer: Issuer) -> dict[str, Any]:
    mark = " (test)"
    return {
        "key": TEST_KEY,
        "name": issuer.name[: NAME_LENGTH - len(mark)] + mark,
        "invoice_prefix": TEST_INVOICES,
        "credit_note_prefix": TEST_CREDIT_NOTES,
        "is_test": True,
        **{name: getattr(issuer, name) for name in _COPIED},
    }


def make_default(*, issuer_id: int) -> Issuer:
    """Let this issuer issue what is sold from now on; what others have issued stays theirs. Locks all issuers' rows.

    Raises Issuer.DoesNotExist, also for that of test accounts.
    """
    with transaction.atomic():
        rows = Issuer.objects.filter(is_test=False).select_for_update(no_key=True).order_by("pk")
        issuers = {issuer.pk: issuer for issuer in rows}
        if (chosen := issuers.get(issuer_id)) is None:
            raise Issuer.DoesNotExist(issuer_id)
        # One after the other: the database lets no two be the default at any moment.
        for issuer in sorted(issuers.values(), key=lambda each: each.pk == issuer_id):
            if issuer.is_default != (issuer.pk == issuer_id):
                issuer.is_default = issuer.pk == issuer_id
                issuer.save(update_fields=["is_default"])
        return chosen
