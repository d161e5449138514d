"""Notifications as e-mails: one pair of templates, HTML and text, per kind under `templates/email/`."""

from decimal import Decimal

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from billing.accounts import invitations
from billing.accounts.models import Invitation
from billing.notifications.models import Notification
from billing.notifications.wording import credits_text

AMOUNTS = ("spent", "allocation")


class NoRecipient(Exception):
    """The notification names no address, and neither does its account."""


def send(notification: Notification) -> None:
    """Write the e-mail of a notification and hand it to the mail server; raises what goes wrong.

    Templates: `<kind>.subject.txt`, `<kind>.txt`, `<kind>.html`. The Message-ID comes from the row, so a mail box that
    gets a repeated delivery can tell.
    """
    recipient = notification.email or (notification.account.billing_email if notification.account else "")
    if not recipient:
        raise NoRecipient(notification.dedupe_key)
    context = {
        **notification.payload,
        **_in_words(notification),
        "account": notification.account,
        "public_url": settings.FLORIN_PUBLIC_URL,
    }
    subject, text, html = (
        render_to_string(f"email/{notification.kind}.{ending}", context) for ending in ("subject.txt", "txt", "html")
    )
    host = settings.FLORIN_PUBLIC_URL.split("://")[-1].split("/")[0].split(":")[0]
    message = EmailMultiAlternatives(
        subject=" ".join(subject.split()),
        body=text.strip() + "\n",
        to=[recipient],
        headers={"Message-ID": f"<notification-{notification.pk}@{host}>"},
    )
    message.attach_alternative(html, "text/html")
    message.send()


def _in_words(notification: Notification) -> dict[str, str]:
    """What the templates need beyond the payload: amounts as people read them, and the token of an invitation's link,
    which may stand in the e-mail but not in the outbox."""
    if notification.kind == "invitation":
        invitation = Invitation.objects.get(pk=notification.payload["invitation_id"])
        return {"token": invitations.token_of(invitation)}
    amounts = {name: notification.payload[name] for name in AMOUNTS if name in notification.payload}
    return {name: credits_text(Decimal(amount)) for name, amount in amounts.items()}
