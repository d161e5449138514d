"""Whether a person's e-mail address has been proved to be theirs: allauth's `EmailAddress` rows, one or two a person.

A person without a verified row cannot sign in. A second, unverified row is an address they want to change to; the
link sent there makes it the only one.
"""

from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.db import transaction

from billing.accounts.models import User


def trust(user: User) -> None:
    """Take the person's address as proved, and forget any other: they came through a link sent to it, or whoever made
    them vouches for it."""
    with transaction.atomic():
        EmailAddress.objects.filter(user=user).exclude(email=user.email.lower()).delete()
        EmailAddress.objects.update_or_create(
            user=user, email=user.email.lower(), defaults={"verified": True, "primary": True}
        )


def find_wanted(user: User) -> str:
    """The address the person wants to change to and has not proved yet; empty when there is none."""
    wanted = EmailAddress.objects.filter(user=user, verified=False).exclude(email=user.email.lower())
    return wanted.values_list("email", flat=True).first() or ""


def drop_wanted(user: User) -> None:
    """Keep the address as it is: the link sent to the new one works no longer."""
    EmailAddress.objects.filter(user=user, verified=False).exclude(email=user.email.lower()).delete()


def key_of(address_id: int) -> str:
    """The secret of the link that proves an address, valid from now for ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS.

    Made when the e-mail is written, so that it is stored nowhere. Raises EmailAddress.DoesNotExist.
    """
    return EmailConfirmationHMAC(EmailAddress.objects.get(pk=address_id)).key
