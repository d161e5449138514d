"""Packs' life: a draft is edited, put on sale, and retired; what it sells stays as it was. Locks: the pack's row."""

from datetime import datetime

from django.db import transaction

from billing.catalog.models import KEY_VALIDATOR
from billing.catalog.pack_models import Pack, PackTier


class NotPublishable(Exception):
    """The draft has a fault; the message says which."""


class NotADraft(Exception):
    """The pack is on sale or retired: its amounts and prices never change. Draft a new one from it."""


class NotOnSale(Exception):
    """Only what is on sale can be retired."""


class KeyTaken(Exception):
    """Another pack has this key."""


def publish(*, pack_id: int) -> Pack:
    """Put a draft on sale. Raises NotADraft, or NotPublishable when its smallest amount has no price."""
    with transaction.atomic():
        pack = _lock(pack_id)
        if pack.state != "draft":
            raise NotADraft
        first = pack.tiers.order_by("from_credits").first()
        if first is None or first.from_credits > pack.min_credits:
            raise NotPublishable("The smallest amount has no price: let the first tier begin there.")
        pack.is_active = True
        pack.save(update_fields=["is_active"])
        return pack


def retire(*, pack_id: int, now: datetime) -> Pack:
    """Sell it no longer, for good; top-up rules that name it stop buying. Raises NotOnSale."""
    with transaction.atomic():
        pack = _lock(pack_id)
        if not pack.is_active:
            raise NotOnSale
        pack.is_active, pack.retired_at = False, now
        pack.save(update_fields=["is_active", "retired_at"])
        return pack


def draft_from(*, pack_id: int, key: str, now: datetime) -> Pack:
    """Begin a draft with the name, amounts, prices and buyers of another pack. Raises KeyTaken, and django's
    ValidationError for a key that is none."""
    KEY_VALIDATOR(key)
    with transaction.atomic():
        source = Pack.objects.get(pk=pack_id)
        if Pack.objects.filter(key=key).exists():
            raise KeyTaken(key)
        tiers = list(source.tiers.order_by("from_credits"))
        source.pk, source.key, source.is_active, source.retired_at, source.created_at = None, key, False, None, now
        source._state.adding = True
        source.save(force_insert=True)
        for tier in tiers:
            tier.pk, tier.pack = None, source
        PackTier.objects.bulk_create(tiers)
        return source


def _lock(pack_id: int) -> Pack:
    return Pack.objects.select_for_update(no_key=True).get(pk=pack_id)
