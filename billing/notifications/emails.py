"""Notifications as e-mails: one pair of templates, HTML and text, around the message of every kind."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from billing.accounts.text import without_hidden
from billing.notifications.kinds import Audience, Kind, get_kind
from billing.notifications.messages import About, Message
from billing.notifications.models import Notification, NotificationDelivery


@dataclass(frozen=True, slots=True)
class Paper:
    """A PDF that goes with a mail."""

    name: str
    content: bytes


# The documents that a notification is about.
Papers = Callable[[Notification], Sequence[Paper]]


def send(delivery: NotificationDelivery, *, papers: Papers) -> None:
    """Write the e-mail of a delivery and hand it to the mail server; raises what goes wrong. A billing address has no
    login: it gets the documents themselves in place of links to the portal.

    Its Message-ID comes from the row, so that a mail box which gets a repeated delivery can tell.
    """
    notification = delivery.notification
    kind = get_kind(notification.kind)
    about = About(notification)
    message = kind.write(about)
    attached: Sequence[Paper] = ()
    if kind.audience is Audience.MONEY and not delivery.user_id:
        attached = papers(notification)
        message = _for_outsiders(message, has_papers=bool(attached))
    preferences_url = _preferences_url(kind, about, delivery)
    context = {
        "message": message,
        "account_name": about.account_name,
        "public_url": settings.FLORIN_PUBLIC_URL,
        "why": _why(kind, about, delivery),
        "preferences_url": preferences_url,
    }
    headers = {"Message-ID": f"<notification-{notification.pk}-{delivery.pk}@{_host()}>"}
    if preferences_url:
        headers["List-Unsubscribe"] = f"<{preferences_url}>"
    mail = EmailMultiAlternatives(
        subject=subject_of(message, notification, kind),
        body=render_to_string("email/message.txt", context).strip() + "\n",
        to=[delivery.address],
        headers=headers,
    )
    mail.attach_alternative(render_to_string("email/message.html", context), "text/html")
    for paper in attached:
        mail.attach(paper.name, paper.content, "application/pdf")
    mail.send()


def _for_outsiders(message: Message, *, has_papers: bool) -> Message:
    """A message for somebody who cannot log in to the account."""
    where = _("Members of the account find it in the portal.")
    if has_papers:
        where = _("The document is attached.")
    return replace(message, action=None, further=(), more=(*message.more, where))


def subject_of(message: Message, notification: Notification, kind: Kind) -> str:
    """The title on one line, without invisible characters. What concerns an account begins with its name, for people
    who are in several."""
    title = without_hidden(message.title)
    if notification.account is None or kind.audience is Audience.PERSON:
        return title
    return f"{without_hidden(notification.account.name)}: {title}"


def _why(kind: Kind, about: About, delivery: NotificationDelivery) -> str:
    """The line at the end that says why one gets this."""
    if kind.audience is Audience.PERSON:
        return _("This e-mail was sent to %(address)s only.") % {"address": delivery.address}
    if delivery.user_id:
        return _("You get this e-mail because you are a member of %(account)s.") % {"account": about.account_name}
    return _("You get this e-mail because %(address)s is the billing address of %(account)s.") % {
        "address": delivery.address,
        "account": about.account_name,
    }


def _preferences_url(kind: Kind, about: About, delivery: NotificationDelivery) -> str:
    """Where the reader chooses what to be told; empty for who has no login, or no choice."""
    if kind.audience is Audience.PERSON or not delivery.user_id:
        return ""
    return settings.FLORIN_PUBLIC_URL + about.link("", "notification_preferences").path


def _host() -> str:
    return urlsplit(settings.FLORIN_PUBLIC_URL).hostname or "localhost"
