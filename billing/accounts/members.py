"""Members: a user's place in an account. An account that has an owner always keeps one.

What a member could still act with goes with the place, or with the role that allowed it: the account's API keys they
made, and open invitations they sent.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from billing.accounts.models import Account, ApiKey, Invitation, Member, Role, User

# Who may make the account's API keys and invite people.
MANAGERS = (Role.OWNER, Role.ADMIN)


class AlreadyMember(Exception):
    """The user has a place in the account."""


class StaffMember(Exception):
    """The user is staff: they look at accounts and are never in one."""


class LastOwner(Exception):
    """The account would be left without an owner."""


def add(*, account: Account, user: User, role: str, now: datetime) -> Member:
    """Give the user a place; a removed member comes back with its history. Locks the account's row.

    Raises AlreadyMember, StaffMember, and ValueError for a role that does not exist.
    """
    role = Role(role)
    if user.is_staff:
        raise StaffMember
    with transaction.atomic():
        Account.objects.select_for_update().get(pk=account.pk)
        member = Member.objects.filter(account=account, user=user).first()
        if member is None:
            return Member.objects.create(account=account, user=user, role=role, created_at=now)
        if member.removed_at is None:
            raise AlreadyMember
        member.role, member.removed_at = role, None
        member.save(update_fields=["role", "removed_at"])
        return member


def change_role(*, member_id: int, role: str, now: datetime) -> Member:
    """Give a member another role. What the new one may no longer do ends: if it cannot manage the account, the
    account's API keys they made are revoked and their open invitations closed; an admin's invitations of owners are
    closed. Keys that somebody else rotated since stay. Locks the account's row.

    Raises LastOwner, Member.DoesNotExist when removed.
    """
    role = Role(role)
    with transaction.atomic():
        member = _lock(member_id)
        if role != Role.OWNER:
            _keep_an_owner(member)
        member.role = role
        member.save(update_fields=["role"])
        if role not in MANAGERS:
            _keys_of(member).update(revoked_at=now)
            _invitations_of(member).update(revoked_at=now)
        elif role != Role.OWNER:
            _invitations_of(member).filter(role=Role.OWNER).update(revoked_at=now)
        return member


def list_working_keys(member: Member, *, now: datetime) -> list[ApiKey]:
    """The account's API keys that the member made and that still work: those that go when the member goes, or no longer
    manages the account."""
    return list(_keys_of(member).exclude(expires_at__lte=now).order_by("name", "pk"))


def remove(*, member_id: int, now: datetime) -> None:
    """Take a member's place away; its history stays. Their next request finds the account closed to them, the
    account's API keys they made are revoked and their open invitations closed. Locks the account's row.

    A key that somebody else rotated since is that person's, and stays. Raises LastOwner, Member.DoesNotExist when
    removed already.
    """
    with transaction.atomic():
        member = _lock(member_id)
        _keep_an_owner(member)
        member.removed_at = now
        member.save(update_fields=["removed_at"])
        _keys_of(member).update(revoked_at=now)
        _invitations_of(member).update(revoked_at=now)


def _invitations_of(member: Member) -> QuerySet[Invitation]:
    sent = Invitation.objects.filter(account_id=member.account_id, invited_by_id=member.user_id)
    return sent.filter(accepted_at=None, revoked_at=None)


def _keys_of(member: Member) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(account_id=member.account_id, created_by_id=member.user_id, revoked_at=None)


def _lock(member_id: int) -> Member:
    # The account's row, not the member's: two owners who remove each other must not pass each other by.
    account_id = Member.objects.values_list("account_id", flat=True).get(pk=member_id)
    Account.objects.select_for_update().get(pk=account_id)
    return Member.objects.get(pk=member_id, removed_at=None)


def _keep_an_owner(leaving: Member) -> None:
    if leaving.role != Role.OWNER:
        return
    others = Member.objects.filter(account_id=leaving.account_id, role=Role.OWNER, removed_at=None)
    if not others.exclude(pk=leaving.pk).exists():
        raise LastOwner
