"""Invitations, told by e-mail."""

from datetime import datetime

from django.db import transaction

from billing.accounts import invitations, throttles
from billing.accounts.models import Account, Invitation, User
from billing.notifications import outbox


def send(*, account: Account, email: str, role: str, invited_by: User | None, now: datetime) -> Invitation:
    """Invite an address and write the e-mail to the outbox, together or not at all.

    So that no account is a way to send mail to the world, it is throttled by account, by who invites and by address.
    Raises throttles.Throttled, and what `billing.accounts.invitations.invite` raises.
    """
    counted: list[tuple[throttles.Limit, object]] = [
        (throttles.INVITATIONS_OF_ACCOUNT, account.pk), (throttles.INVITATIONS_TO_ADDRESS, email)
    ]  # fmt: skip
    if invited_by is not None:
        counted.append((throttles.INVITATIONS_OF_PERSON, invited_by.pk))
    with transaction.atomic():
        throttles.take(*counted, now=now)
        invitation, _ = invitations.invite(account=account, email=email, role=role, invited_by=invited_by, now=now)
        outbox.write(
            kind="invitation",
            dedupe_key=f"invitation:{invitation.pk}",
            account_id=account.pk,
            email=invitation.email,
            payload={
                "invitation_id": invitation.pk,
                "account_name": account.name,
                "role": invitation.role,
                "invited_by": invited_by.get_full_name() if invited_by else "",
                "expires_at": invitation.expires_at.isoformat(),
            },
            now=now,
        )
    return invitation
