"""From a notification to deliveries: who is told by e-mail. One row per notification and address, whoever runs.

An address that belongs to an owner or admin follows that person's wishes, also where it is the billing address too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from billing.accounts import clocks
from billing.accounts.models import Account, Member, Role, User
from billing.notifications.kinds import KINDS, MANAGERS, Audience, Kind
from billing.notifications.models import Channel, Notification, NotificationDelivery
from billing.notifications.preferences import Choices, choices_of, wants


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address, and the login that reads there, if it is one's."""

    address: str
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A member with what they have chosen."""

    member: Member
    chosen: Choices

    def wants_mail(self, kind: Kind) -> bool:
        return wants(kind, Channel.EMAIL, self.member.role, self.chosen)


def expand_due(*, now: datetime, limit: int, account_id: int | None = None) -> int:
    """Write the deliveries of at most `limit` notifications that have none yet; how many notifications.

    One transaction; several at once share the rows. Nothing is mailed here. A notification that finds nobody to tell
    becomes UNDELIVERABLE, which staff see; one whose readers all prefer the inbox is EXPANDED without a delivery.
    With `account_id` only that account's; without, what is on a test clock is left alone.
    """
    with transaction.atomic():
        pending = clocks.narrow(_pending(), account_id=account_id).order_by("id")
        rows = list(pending.select_for_update(skip_locked=True, of=("self",))[:limit])
        accounts = Account.objects.in_bulk({row.account_id for row in rows if row.account_id and not row.email})
        places = _places_of(accounts)
        told: list[int] = []
        deliveries: list[NotificationDelivery] = []
        for row in rows:
            account = accounts.get(row.account_id or 0)
            found = _recipients(row, account, places.get(row.account_id or 0, []))
            if found is not None:
                told.append(row.pk)
                deliveries += [_delivery(row, recipient, now) for recipient in found]
        NotificationDelivery.objects.bulk_create(deliveries, ignore_conflicts=True)
        States = Notification.State
        Notification.objects.filter(pk__in=told).update(state=States.EXPANDED, expanded_at=now)
        lost = [row.pk for row in rows if row.pk not in set(told)]
        Notification.objects.filter(pk__in=lost).update(state=States.UNDELIVERABLE, expanded_at=now)
        return len(rows)


def keep_in_inbox(*, account_id: int | None, now: datetime) -> int:
    """Let notifications that have no deliveries yet be read in the portal only: nobody is mailed. How many. With
    `account_id` those of that account; without, of all that are on no test clock."""
    rows = clocks.narrow(_pending(), account_id=account_id)
    states = Notification.State
    return Notification.objects.filter(pk__in=rows.values("pk")).update(state=states.EXPANDED, expanded_at=now)


def _pending() -> QuerySet[Notification]:
    return Notification.objects.filter(state=Notification.State.PENDING)


def may_read(user: User, notification: Notification) -> bool:
    """Whether a notification is still this person's to read: places, roles and logins end."""
    if not user.is_active:
        return False
    if notification.email or notification.account_id is None or notification.kind not in KINDS:
        return True
    readers = KINDS[notification.kind].readers
    places = Member.objects.filter(user=user, account_id=notification.account_id, removed_at=None)
    return any(role in readers for role in places.values_list("role", flat=True))


def _places_of(accounts: Iterable[int]) -> dict[int, list[_Place]]:
    members = list(
        Member.objects.filter(account_id__in=list(accounts), removed_at=None, user__is_active=True)
        .select_related("user")
        .order_by("id")
    )
    chosen = choices_of([member.pk for member in members])
    places: dict[int, list[_Place]] = {}
    for member in members:
        places.setdefault(member.account_id, []).append(_Place(member, chosen.get(member.pk, {})))
    return places


def _recipients(row: Notification, account: Account | None, places: list[_Place]) -> list[Recipient] | None:
    """Who is mailed, perhaps nobody; None when there is nobody whom it could concern."""
    if row.email:
        return [Recipient(row.email)]
    kind = KINDS.get(row.kind)
    if account is None or (kind and kind.audience is Audience.PERSON):
        return None
    managers = [place for place in places if place.member.role in MANAGERS]
    # A kind that nobody knows any more, or not yet, goes to who answers for the account; writing it fails visibly.
    wanting = [place for place in places if place.wants_mail(kind)] if kind else managers
    owners = [place for place in managers if place.member.role == Role.OWNER]
    if kind and kind.is_essential and not any(owner in wanting for owner in owners):
        wanting += owners
    found = [Recipient(place.member.user.email, place.member.user_id) for place in wanting]
    to_billing = not managers or kind is None or kind.audience is Audience.MONEY
    if to_billing and account.billing_email:
        chooses = {place.member.user.email.lower() for place in managers}
        if account.billing_email.lower() not in chooses:
            found.append(Recipient(account.billing_email))
    return found if found or managers else None


def _delivery(row: Notification, recipient: Recipient, now: datetime) -> NotificationDelivery:
    return NotificationDelivery(
        notification=row,
        channel=Channel.EMAIL,
        address=recipient.address,
        user_id=recipient.user_id,
        created_at=now,
        due_at=now,
    )
