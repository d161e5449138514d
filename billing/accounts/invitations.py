"""Invitations: a place in an account, offered to an e-mail address and taken up with the token of the e-mail.

The token is an HMAC over the invitation, so the e-mail can be written later from the row without a usable token being
stored anywhere: the row keeps its SHA-256 digest. `billing.notifications.invitations` sends the e-mail.
"""

import base64
import hashlib
from datetime import datetime, timedelta

from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.utils.crypto import salted_hmac

from billing.accounts import addresses, members
from billing.accounts.models import Account, Invitation, Member, Role, User

VALID_FOR = timedelta(days=7)


class InvitationClosed(Exception):
    """The token is unknown, used, revoked or too old."""


class KnownAddress(Exception):
    """The address belongs to a user already, who signs in and then takes up the invitation."""


class NotInvited(Exception):
    """The invitation is for another address than the user's."""


def invite(
    *, account: Account, email: str, role: str, invited_by: User | None, now: datetime
) -> tuple[Invitation, str]:
    """Offer a place for seven days and return the invitation with its token.

    An open invitation of the same address is revoked, so that the newest e-mail is the one that works. Locks the
    account's row. Raises members.AlreadyMember, and ValueError for a role that does not exist.
    """
    email = email.lower()
    with transaction.atomic():
        Account.objects.select_for_update().get(pk=account.pk)
        if Member.objects.filter(account=account, user__email__iexact=email, removed_at=None).exists():
            raise members.AlreadyMember
        still_open = Invitation.objects.filter(account=account, email__iexact=email, accepted_at=None, revoked_at=None)
        still_open.update(revoked_at=now)
        invitation = Invitation(
            account=account,
            email=email,
            role=Role(role),
            invited_by=invited_by,
            created_at=now,
            expires_at=now + VALID_FOR,
        )
        token = token_of(invitation)
        invitation.token_digest = _digest(token)
        invitation.save(force_insert=True)
    return invitation, token


def token_of(invitation: Invitation) -> str:
    """The secret of the invitation's link; 43 characters, unguessable without SECRET_KEY."""
    identity = f"{invitation.account_id}|{invitation.email}|{invitation.created_at.timestamp():.6f}"
    digest = salted_hmac("billing.accounts.invitations", identity, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def find_open(*, token: str, now: datetime) -> Invitation | None:
    """The invitation a token opens, its account loaded, if it can still be taken up."""
    found = Invitation.objects.select_related("account").filter(
        token_digest=_digest(token), accepted_at=None, revoked_at=None, expires_at__gt=now
    )
    return found.first()


def accept_as(*, token: str, user: User, now: datetime) -> Member:
    """Take up an invitation as a user who has signed in with the invited address. Locks the invitation's row.

    Raises InvitationClosed, NotInvited, members.AlreadyMember, members.StaffMember.
    """
    with transaction.atomic():
        invitation = _claim(token, now)
        if invitation.email.lower() != user.email.lower():
            raise NotInvited
        return members.add(account=invitation.account, user=user, role=invitation.role, now=now)


def accept(*, token: str, name: str, password: str, now: datetime) -> Member:
    """Take up an invitation as a newcomer: make the user and the member. The token, which was sent to the address,
    proves that it is theirs. Locks the invitation's row.

    Raises InvitationClosed, KnownAddress, and django's ValidationError for a weak password.
    """
    with transaction.atomic():
        invitation = _claim(token, now)
        if has_login(invitation):
            raise KnownAddress
        user = User(email=invitation.email, name=name)
        validate_password(password, user)
        user.set_password(password)
        user.save(force_insert=True)
        addresses.trust(user)
        return members.add(account=invitation.account, user=user, role=invitation.role, now=now)


def has_login(invitation: Invitation) -> bool:
    """Whether the invited address belongs to a user already."""
    return User.objects.filter(email=invitation.email).exists()


def _claim(token: str, now: datetime) -> Invitation:
    """The invitation, marked as accepted if it still was open; raises InvitationClosed."""
    invitation = find_open(token=token, now=now)
    if invitation is None:
        raise InvitationClosed
    claimed = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None)
    if not claimed.update(accepted_at=now):
        raise InvitationClosed
    return invitation


def revoke(*, invitation: Invitation, now: datetime) -> None:
    """Close an open invitation; one that was taken up or revoked stays as it is."""
    Invitation.objects.filter(pk=invitation.pk, accepted_at=None, revoked_at=None).update(revoked_at=now)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
