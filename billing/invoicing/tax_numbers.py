"""Tax numbers of buyers: whether one looks right, and what the EU's register (VIES) says about it.

Looking needs nobody and happens at once. The register is asked where FLORIN_VIES_URL says so, outside of transactions;
when it does not answer the number stays `unknown` and is asked about again. A number that looks right counts as a
business's unless the register denies it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from billing.accounts.models import Account
from billing.accounts.tax_ids import EU_COUNTRIES, find_vat_id, looks_right, vat_area
from billing.invoicing import vies
from billing.invoicing.models import Issuer
from billing.invoicing.tax_models import TaxNumberCheck

VALID_FOR = timedelta(days=30)
# A business that has registered just now takes days to appear.
INVALID_FOR = timedelta(days=3)
RETRY_AFTER = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=4), timedelta(hours=24))


class Standing(StrEnum):
    """What is known of a tax number."""

    NONE = "none"
    MALFORMED = "malformed"
    UNCHECKED = "unchecked"
    UNKNOWN = "unknown"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Round:
    """What a round of checks did: numbers asked about, and how many of them got an answer."""

    asked: int
    answered: int


def find_check(account: Account) -> TaxNumberCheck | None:
    """What the register was asked about the number that the account has now. No query where the account's checks
    (`tax_number_checks`) have been prefetched."""
    now = (account.country, account.tax_number)
    checks = account.tax_number_checks.all()
    return next((each for each in checks if (each.country, each.tax_number) == now), None)


def usable(account: Account) -> str:
    """The account's VAT number where it shows a business: an EU number that looks right and is not denied by the
    register; else empty. Up to one query."""
    vat_id = find_vat_id(account.country, account.tax_number) if account.tax_number else None
    if vat_id is None:
        return ""
    check = find_check(account)
    return "" if check is not None and check.state == TaxNumberCheck.State.INVALID else vat_id


def standing(account: Account) -> Standing:
    """What is known of the account's number. Up to one query."""
    if not account.tax_number:
        return Standing.NONE
    if not looks_right(account.country, account.tax_number):
        return Standing.MALFORMED
    check = find_check(account) if vat_area(account.country) in EU_COUNTRIES else None
    return Standing.UNCHECKED if check is None else Standing(check.state)


def check(*, account_id: int, now: datetime) -> TaxNumberCheck | None:
    """Ask the register about the account's number, and keep the answer, once per country and number.

    None where there is nothing to ask: no register is configured, or the number is none of the EU's. When no answer
    comes what was known stays, with the next try after 10 minutes, 1, 4 and then every 24 hours. Raises RuntimeError
    inside a transaction. Locks the check's row to write.
    """
    with transaction.atomic(durable=True):
        account = Account.objects.get(pk=account_id)
    vat_id = find_vat_id(account.country, account.tax_number)
    if vat_id is None or not settings.FLORIN_VIES_URL:
        return None
    try:
        answer, problem = vies.ask(vat_id, requester=_requester()), ""
    except vies.NoAnswer as error:
        answer, problem = None, str(error)[:200]
    with transaction.atomic():
        row, _ = TaxNumberCheck.objects.get_or_create(
            account=account, country=account.country, tax_number=account.tax_number,
            defaults={"vat_id": vat_id, "created_at": now, "next_check_at": now},
        )  # fmt: skip
        row = TaxNumberCheck.objects.select_for_update().get(pk=row.pk)
        if answer is None:
            row.problem = problem
            row.next_check_at = now + RETRY_AFTER[min(row.tries, len(RETRY_AFTER) - 1)]
            row.tries = min(row.tries + 1, 1000)
        else:
            _write_answer(row, answer, now=now)
        row.save()
    return row


def check_due(*, now: datetime, limit: int, account_id: int | None = None) -> Round:
    """Ask about numbers that were never asked about, and those whose time has come, at most `limit` of them.

    Must run outside a transaction. Two rounds at once may ask about a number twice, which does no harm.
    """
    if not settings.FLORIN_VIES_URL:
        return Round(0, 0)
    asked = answered = 0
    for pk, country, number in _list_due(now, account_id).values_list("pk", "country", "tax_number").iterator():
        if asked == limit:
            break
        if find_vat_id(country, number) is None:
            continue
        found = check(account_id=pk, now=now)
        asked += 1
        answered += found is not None and found.answered_at == now
    return Round(asked, answered)


def _list_due(now: datetime, account_id: int | None) -> QuerySet[Account]:
    current = TaxNumberCheck.objects.filter(
        account=OuterRef("pk"), country=OuterRef("country"), tax_number=OuterRef("tax_number"), next_check_at__gt=now
    )
    rows = Account.objects.filter(~Exists(current), country__in=[*EU_COUNTRIES, "MC"]).exclude(tax_number="")
    return (rows if account_id is None else rows.filter(pk=account_id)).order_by("pk")


def _write_answer(row: TaxNumberCheck, answer: vies.Answer, *, now: datetime) -> None:
    row.state = TaxNumberCheck.State.VALID if answer.is_valid else TaxNumberCheck.State.INVALID
    row.name, row.address, row.reference = answer.name[:200], answer.address[:500], answer.reference[:60]
    row.problem, row.tries, row.answered_at = "", 0, now
    row.next_check_at = now + (VALID_FOR if answer.is_valid else INVALID_FOR)


def _requester() -> str:
    """Our own number: who names it gets a proof of the consultation."""
    issuer = Issuer.objects.filter(is_default=True).first()
    return (find_vat_id(issuer.country, issuer.tax_number) or "") if issuer else ""
