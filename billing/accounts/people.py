"""What happens to a person's credentials: a forgotten or new password, and being switched off. Who of staff may do
what."""

from datetime import datetime

from allauth.account.auth_backends import AuthenticationBackend
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Permission
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from billing.accounts.models import ApiKey, Invitation, Member, User


def reset_key(user_id: int) -> str:
    """The secret of the link to a new password, valid from now for PASSWORD_RESET_TIMEOUT and until the password
    changes or the person signs in. Made when the e-mail is written, so that it is stored nowhere.

    Raises User.DoesNotExist, also for somebody who is switched off.
    """
    user = User.objects.get(pk=user_id, is_active=True)
    return f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"


def switch_off(*, user_id: int, now: datetime) -> int:
    """Let a person sign in no more: their sessions end with their next request, all API keys they made are revoked,
    and the invitations they sent are closed. Returns how many keys that were. Locks their row."""
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=user_id)
        user.is_active = False
        user.save(update_fields=["is_active"])
        Invitation.objects.filter(invited_by=user, accepted_at=None, revoked_at=None).update(revoked_at=now)
        return ApiKey.objects.filter(created_by=user, revoked_at=None).update(revoked_at=now)


def has_second_factor(user: User) -> bool:
    """Whether signing in takes more than the person's password. No query for who is signed in (`SessionBackend`)."""
    known: bool | None = getattr(user, "has_second_factor", None)
    return _second_factors(user.pk).exists() if known is None else known


class SessionBackend(AuthenticationBackend):
    """Reads who a session is of together with whether they have a second factor, which every page of staff asks."""

    def get_user(self, user_id: int) -> User | None:
        """The person, unless they are switched off."""
        people = User.objects.annotate(has_second_factor=Exists(_second_factors(OuterRef("pk"))))
        return people.filter(pk=user_id, is_active=True).first()


def _second_factors(user_id: object) -> QuerySet[Authenticator]:
    return Authenticator.objects.filter(user=user_id, type=Authenticator.Type.TOTP)


def switch_off_second_factor(*, user_id: int) -> bool:
    """Let the password alone open a person's login again, when phone and recovery codes are lost. False: it does."""
    return bool(Authenticator.objects.filter(user_id=user_id).delete()[0])


def staff_with(right: str) -> QuerySet[User]:
    """Staff who have a right, by its codename, of their own or through a group; superusers have all."""
    rights = Permission.objects.filter(codename=right)
    may = Q(is_superuser=True) | Q(groups__permissions__in=rights) | Q(user_permissions__in=rights)
    return User.objects.filter(may, is_staff=True, is_active=True).distinct().order_by("pk")


def revoke_issued_keys(*, user: User, now: datetime) -> int:
    """Revoke the API keys that somebody issued as staff and who may not issue them any more: the platform's, and those
    of accounts that they are not in themselves. Returns how many."""
    own = Member.objects.filter(user=user, removed_at=None).values("account")
    issued = ApiKey.objects.filter(created_by=user, revoked_at=None)
    return issued.filter(~Q(account__in=own) | Q(account=None)).update(revoked_at=now)


def list_keys(user: User) -> QuerySet[ApiKey]:
    """The working API keys of accounts that the person made."""
    return ApiKey.objects.filter(created_by=user, account__isnull=False, revoked_at=None)


def revoke_keys(*, user: User, now: datetime) -> int:
    """Revoke the API keys of accounts that the person made; how many. For a new password: whoever knew the old one may
    have made some. Keys of the platform, which staff make, stay."""
    return list_keys(user).update(revoked_at=now)
