"""What tests of the entrance share: a password, the mail box, and an authenticator app."""

import re
import time
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from django.utils import timezone

from billing.notifications import delivery, fanout

PASSWORD = "correct horse battery"


def sign_in(client: Client, **fields: str) -> str:
    """Sign in as alice, and say where that leads; empty when it is refused."""
    answer = client.post("/login", {"login": "alice@example.com", "password": PASSWORD, **fields})
    return str(answer["Location"]) if answer.status_code == 302 else ""


def read_mail() -> list[EmailMultiAlternatives]:
    """Deliver what is in the outbox and empty the mail box."""
    now = timezone.now()
    fanout.expand_due(now=now, limit=100)
    delivery.deliver_due(now=now, limit=100)
    messages: list[Any] = list(mail.outbox)
    mail.outbox.clear()
    return messages


def link_in(message: EmailMultiAlternatives) -> str:
    """The path of the one link in the message; it must be the same in text and HTML."""
    (path,) = set(re.findall(r"http://localhost:8000(/\S+)", str(message.body)))
    assert path in str(message.alternatives[0].content)
    return str(path)


def code_of(secret: str) -> str:
    """What an authenticator app with this secret shows now."""
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


def confirm_password(client: Client, password: str = PASSWORD) -> None:
    """Type the password again, as delicate pages ask."""
    assert client.post("/confirm-password", {"password": password}).status_code == 302


def switch_on_two_factor(client: Client) -> tuple[str, list[str]]:
    """Switch on two-factor sign-in; returns the app's secret and the recovery codes."""
    confirm_password(client)
    page = client.get("/security/two-factor").content.decode()
    secret = re.search(r'class="secret">(\w+)<', page)
    assert secret is not None
    answer = client.post("/security/two-factor", {"code": code_of(secret[1])}, follow=True)
    return secret[1], re.findall(r"<li><code>(\d+)</code></li>", answer.content.decode())
