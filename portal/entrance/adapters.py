"""How allauth acts here: its e-mails go through the outbox, its texts are ours, and it tells nobody who exists.

Secrets of links are not in the outbox: they are made from these rows when the e-mail is written.
"""

import base64
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from billing.accounts.browsers import in_words
from billing.accounts.models import User
from billing.notifications import logins

# What allauth calls a notice of something that happened to somebody's credentials, and what we do.
NOTICES = {
    "account/email/password_changed": "password_changed",
    "account/email/password_reset": "password_changed",
    "account/email/email_changed": "email_changed",
    "mfa/email/totp_activated": "two_factor_on",
    "mfa/email/totp_deactivated": "two_factor_off",
    "mfa/email/recovery_codes_generated": "recovery_codes_made",
}
TEXTS = {
    "account/messages/logged_out.txt": _("You are signed out."),
    "account/messages/password_changed.txt": _("Your new password is saved. Everywhere else you are signed out."),
    "account/messages/email_confirmed.txt": _("This e-mail address is confirmed."),
    "account/messages/email_confirmation_failed.txt": _("This address could not be confirmed. Please try another one."),
    "mfa/messages/totp_activated.txt": _("Two-factor sign-in is on."),
    "mfa/messages/totp_deactivated.txt": _("Two-factor sign-in is off."),
    "mfa/messages/recovery_codes_generated.txt": _("These are your recovery codes. Keep them in a safe place."),
}
MISMATCH = _("This e-mail address and password do not belong together.")


class AccountAdapter(DefaultAccountAdapter):
    """Sign-up, sign-in, addresses and passwords."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": MISMATCH,
        "incorrect_password": _("This is not your password."),
        "enter_current_password": _("This is not your password."),
        "too_many_login_attempts": _("Too many attempts. Please wait some minutes, then try again."),
        "rate_limited": _("Too many attempts. Please wait some minutes, then try again."),
        "duplicate_email": _("This is your address already."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.FLORIN_SIGN_UP_OPEN

    def is_ajax(self, request: HttpRequest) -> bool:
        """Never: these are pages, and allauth's JSON answers would be doors of their own."""
        return False

    def is_safe_url(self, url: str) -> bool:
        """Only an address on this host, and without naming it."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def get_client_ip(self, request: HttpRequest) -> str:
        """The client's address; behind a socket that tells none, all clients are one."""
        try:
            return super().get_client_ip(request)
        except PermissionDenied:
            return "0.0.0.0"  # noqa: S104  (no address to listen on)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        # Not by host name as well, or each name of this server would give a guesser as many attempts again.
        return str(credentials.get("email", "")).lower()

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Who these credentials are of; nobody also for those who are switched off."""
        user = super().authenticate(request, **credentials)
        return user if isinstance(user, User) and user.is_active else None

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        return redirect("account_login")

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Make the address the person's own, unless it has become somebody else's since the link was sent."""
        taken = User.objects.filter(email=email_address.email).exclude(pk=email_address.user_id)
        try:
            with transaction.atomic():
                if not taken.exists():
                    return super().confirm_email(request, email_address)
        except IntegrityError:
            # Somebody else took it this very moment.
            pass
        self.add_message(request, messages.ERROR, "account/messages/email_confirmation_failed.txt")
        return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("portal:security")

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        message_context: dict[str, Any] | None = None,
        extra_tags: str = "",
        message: str | None = None,
    ) -> None:
        """Our own words, and none where the page says it already."""
        text = message or TEXTS.get(message_template or "")
        if text:
            messages.add_message(request, level, str(text), extra_tags=extra_tags)

    def send_confirmation_mail(self, request: HttpRequest, emailconfirmation: Any, signup: bool) -> None:
        address = emailconfirmation.email_address
        payload = {"address_id": address.pk, "name": address.user.get_short_name(), "is_new": signup}
        logins.tell(kind="verify_email", about=address.pk, email=address.email, payload=payload, now=timezone.now())

    def send_password_reset_mail(self, user: Any, email: str, context: dict[str, Any]) -> None:
        payload = {"user_id": user.pk, "name": user.get_short_name()}
        logins.tell(kind="password_reset", about=user.pk, email=user.email, payload=payload, now=timezone.now())

    def send_account_already_exists_mail(self, email: str) -> None:
        logins.tell(kind="account_exists", about=email, email=email, payload={}, now=timezone.now())

    def send_notification_mail(
        self, template_prefix: str, user: Any, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        logins.tell_changed(
            kind=NOTICES[template_prefix],
            user=user,
            email=email or user.email,
            client=in_words(self.get_http_user_agent(self.request)),
            where=self.get_client_ip(self.request),
            new_email=(context or {}).get("to_email", ""),
            now=timezone.now(),
        )

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Nothing may be sent around the outbox."""
        raise NotImplementedError(template_prefix)


class TwoFactorAdapter(DefaultMFAAdapter):
    """Two-factor sign-in: secrets are encrypted with SECRET_KEY, so that a copy of the database is no second factor."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": _("This code is not right, or has been used already. Please type the newest one."),
    }

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _fernet().decrypt(encrypted_text.encode()).decode()

    def build_totp_svg(self, url: str) -> str:
        """The QR code as markup for the page itself: the policy lets no image come from a data address."""
        svg = super().build_totp_svg(url)
        return svg[svg.index("<svg") :]


def _fernet() -> MultiFernet:
    """With the newest key to encrypt, and any of the older ones to decrypt."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    digests = (salted_hmac("portal.adapters.two_factor", "", secret, algorithm="sha256").digest() for secret in secrets)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
