"""Whether a person's e-mail address has been proved to be theirs: allauth's `EmailAddress` rows, one or two a person.

A person without a verified row cannot sign in. A second, unverified row is an address they want to change to; the
link sent there makes it the only one.
"""

from datetime import timedelta
from typing import Protocol

from allauth.account import app_settings
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.core import signing
from django.db import transaction

_SALT = "billing.accounts.addresses"


class Person(Protocol):
    """A saved `User`; the class itself needs this module to make its rows."""

    pk: int
    email: str


def trust(user: Person) -> None:
    """Take the person's address as proved, and forget any other: they came through a link sent to it, or whoever made
    them vouches for it."""
    with transaction.atomic():
        EmailAddress.objects.filter(user_id=user.pk).exclude(email=user.email.lower()).delete()
        EmailAddress.objects.update_or_create(
            user_id=user.pk, email=user.email.lower(), defaults={"verified": True, "primary": True}
        )


def find_wanted(user: Person) -> str:
    """The address the person wants to change to and has not proved yet; empty when there is none."""
    wanted = EmailAddress.objects.filter(user_id=user.pk, verified=False).exclude(email=user.email.lower())
    return wanted.values_list("email", flat=True).first() or ""


def drop_wanted(user: Person) -> None:
    """Keep the address as it is: the link sent to the new one works no longer."""
    EmailAddress.objects.filter(user_id=user.pk, verified=False).exclude(email=user.email.lower()).delete()


def key_of(address_id: int) -> str:
    """The secret of the link that proves an address, valid from now for ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS.

    Made when the e-mail is written, so that it is stored nowhere. Says whose address it is rather than, as allauth's
    own key, its row's number, which counts the addresses there are. Raises EmailAddress.DoesNotExist.
    """
    address = EmailAddress.objects.get(pk=address_id)
    return signing.dumps([address.user_id, address.email], salt=_SALT)


def find_by_key(key: str) -> EmailConfirmationHMAC | None:
    """What the link proves, if it is ours, not too old, and still has something to prove."""
    valid_for = timedelta(days=app_settings.EMAIL_CONFIRMATION_EXPIRE_DAYS)
    try:
        user_id, email = signing.loads(key, salt=_SALT, max_age=valid_for)
    except signing.BadSignature:
        return None
    address = EmailAddress.objects.filter(user_id=user_id, email=email, verified=False).first()
    return EmailConfirmationHMAC(address) if address is not None else None
