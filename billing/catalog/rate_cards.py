"""Rate cards' life: draft a version, publish it, assign a card to an account. Locks: the rate card's row,
then the version's."""

from datetime import datetime

from django.db import transaction

from billing.accounts.models import Account, User
from billing.catalog.models import Rate, RateCard, RateCardAssignment, RateCardVersion
from billing.catalog.prices import price_of
from billing.catalog.pricing import check_tiers

# A period's cumulative quantity is kept under what the rate matches, as canonical JSON.
MAX_DIMENSION = 500


class AlreadyPublished(Exception):
    """A published version never changes; draft a new one from it."""


class NotPublishable(Exception):
    """The draft has a fault; the message says which."""


def draft_version(*, rate_card_id: int, now: datetime) -> RateCardVersion:
    """Begin an empty draft, numbered after the card's last version."""
    with transaction.atomic():
        card = RateCard.objects.select_for_update(no_key=True).get(pk=rate_card_id)
        last = card.versions.order_by("-number").first()
        return RateCardVersion.objects.create(rate_card=card, number=last.number + 1 if last else 1, created_at=now)


def draft_from(*, version_id: int, now: datetime) -> RateCardVersion:
    """Begin a draft with a copy of another version's rates and of how they count."""
    source = RateCardVersion.objects.get(pk=version_id)
    with transaction.atomic():
        draft = draft_version(rate_card_id=source.rate_card_id, now=now)
        draft.counts_by = source.counts_by
        draft.save(update_fields=["counts_by"])
        rates = list(source.rates.order_by("pk"))
        for rate in rates:
            rate.pk, rate.version = None, draft
        Rate.objects.bulk_create(rates)
        return draft


def publish(
    *, version_id: int, effective_at: datetime, published_by: User | None = None, now: datetime
) -> RateCardVersion:
    """Publish a draft: from `effective_at` on it prices usage, and nobody can change it any more.

    `effective_at` may lie in the past only for a card's first version, for nothing was priced by the card before.
    Raises AlreadyPublished, or NotPublishable for a draft without rates, with faulty tiers, or that would reprice.
    """
    with transaction.atomic():
        card_id = RateCardVersion.objects.values_list("rate_card_id", flat=True).get(pk=version_id)
        RateCard.objects.select_for_update(no_key=True).get(pk=card_id)
        # Whoever edits the draft or its rates is waited for: what is checked is what is published.
        version = RateCardVersion.objects.select_for_update(no_key=True).get(pk=version_id)
        if version.is_published:
            raise AlreadyPublished
        _check_rates(version)
        published = RateCardVersion.objects.filter(rate_card_id=card_id, published_at__isnull=False)
        if effective_at < now and published.exists():
            raise NotPublishable("A later version cannot take effect in the past: usage has been priced since.")
        if published.filter(effective_at=effective_at).exists():
            raise NotPublishable("Another version takes effect at that very time.")
        version.effective_at, version.published_at, version.published_by = effective_at, now, published_by
        version.save(update_fields=["effective_at", "published_at", "published_by"])
        return version


def _check_rates(version: RateCardVersion) -> None:
    rates = list(version.rates.select_related("meter"))
    if not rates:
        raise NotPublishable("A version needs at least one rate.")
    for rate in rates:
        price = price_of(rate)
        if rate.model == Rate.Model.GRADUATED and (fault := check_tiers(price.tiers)):
            raise NotPublishable(f"{rate.meter.key}: {fault}")
        if len(price.dimension) > MAX_DIMENSION:
            raise NotPublishable(f"{rate.meter.key}: what a rate matches is longer than {MAX_DIMENSION} characters.")


def assign(
    *, account: Account, rate_card: RateCard, kind: str, starts_at: datetime, ends_at: datetime | None = None
) -> RateCardAssignment:
    """Give an account a rate card for a while. The database refuses two of one kind at a time (IntegrityError)."""
    return RateCardAssignment.objects.create(
        account=account, rate_card=rate_card, kind=kind, starts_at=starts_at, ends_at=ends_at
    )


def set_plan_card(*, account_id: int, rate_card_id: int | None, starts_at: datetime) -> None:
    """Let an account's plan bring this rate card (None: none) from a time on, in place of the one it brought before."""
    before = RateCardAssignment.objects.filter(account=account_id, kind=RateCardAssignment.Kind.PLAN, ends_at=None)
    current = before.first()
    if current is not None:
        if current.rate_card_id == rate_card_id:
            return
        if current.starts_at < starts_at:
            current.ends_at = starts_at
            current.save(update_fields=["ends_at"])
        else:
            current.delete()
    if rate_card_id is not None:
        RateCardAssignment.objects.create(
            account_id=account_id, rate_card_id=rate_card_id, kind=RateCardAssignment.Kind.PLAN, starts_at=starts_at
        )
