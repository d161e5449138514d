"""What a member wants to be told, by kind and channel.

A member chooses among the kinds that concern their role. The rules that no choice undoes: an essential kind always
stands in the inbox; and among the owners of an account somebody gets it by e-mail. The second is kept twice: `save`
refuses the choice that would end it, and when owners have come and gone since, `fanout` mails all owners.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from django.db import transaction

from billing.accounts.models import Account, Member, Role
from billing.notifications.kinds import MANAGERS, Kind, readable_by
from billing.notifications.models import Channel, NotificationPreference

Choices = Mapping[tuple[str, str], bool]


class LastListener(Exception):
    """No owner would be mailed about this essential kind any more."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.name)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Wish:
    """How a member is told of a kind. `inbox_fixed`: that they cannot switch off."""

    kind: Kind
    by_email: bool
    in_inbox: bool

    @property
    def inbox_fixed(self) -> bool:
        return self.kind.is_essential


def list_wishes(member: Member) -> list[Wish]:
    """How the member is told of each kind that concerns their role, in the order of the list of kinds."""
    chosen = choices_of([member.pk]).get(member.pk, {})
    return [
        Wish(kind, wants(kind, Channel.EMAIL, member.role, chosen), wants(kind, Channel.INBOX, member.role, chosen))
        for kind in readable_by(member.role)
    ]


def wants(kind: Kind, channel: str, role: str, chosen: Choices) -> bool:
    """Whether a member of this role, who chose so, is told of the kind through the channel."""
    if role not in kind.readers:
        return False
    if channel == Channel.INBOX:
        return kind.is_essential or chosen.get((kind.name, channel), True)
    return chosen.get((kind.name, channel), role in MANAGERS)


def choices_of(member_ids: Collection[int]) -> dict[int, dict[tuple[str, str], bool]]:
    """What each of these members has chosen, by (kind, channel). One query."""
    chosen: dict[int, dict[tuple[str, str], bool]] = {}
    rows = NotificationPreference.objects.filter(member_id__in=member_ids)
    for row in rows:
        chosen.setdefault(row.member_id, {})[row.kind, row.channel] = row.is_on
    return chosen


def save(*, member_id: int, choices: Choices) -> None:
    """Set what the member wants; kinds and channels that are not named, or not for the member's role, stay.

    Locks the account's row, so that two owners cannot both be the one who stops listening. Raises LastListener, and
    Member.DoesNotExist for one that was removed; nothing is written then.
    """
    with transaction.atomic():
        account_id = Member.objects.values_list("account_id", flat=True).get(pk=member_id, removed_at=None)
        Account.objects.select_for_update(no_key=True).get(pk=account_id)
        member = Member.objects.get(pk=member_id, removed_at=None)
        kinds = readable_by(member.role)
        rows = [
            NotificationPreference(member=member, kind=kind.name, channel=channel, is_on=choices[kind.name, channel])
            for kind in kinds
            for channel in Channel
            if (kind.name, channel) in choices
        ]
        NotificationPreference.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["member", "kind", "channel"], update_fields=["is_on"]
        )
        if member.role == Role.OWNER:
            _keep_a_listener(account_id, kinds)


def _keep_a_listener(account_id: int, kinds: Iterable[Kind]) -> None:
    owners = list(Member.objects.filter(account_id=account_id, role=Role.OWNER, removed_at=None, user__is_active=True))
    chosen = choices_of([owner.pk for owner in owners])
    for kind in kinds:
        if kind.is_essential and not any(
            wants(kind, Channel.EMAIL, owner.role, chosen.get(owner.pk, {})) for owner in owners
        ):
            raise LastListener(kind)
