"""Florin in production mode, on a database of the tests', with one thing after another broken. Its log is stderr; on
stdout it says, place by place, what was answered, mailed and sent to workers.

Whatever must not be seen has a canary in it: secrets (passwords, cookies, headers, queries, links, settings) one, what
customers say of themselves (names, addresses, ids) another.
"""

import contextlib
import io
import json
import os
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from unittest import mock

SECRET = "Zeis1gvogel"
NAME = "Kanari3nvogel"
NOWHERE = "127.0.0.1:9"
PASSWORD = f"Pass-{SECRET}-word"
CARD = "4000000000000002"


class RudeMailServer(socketserver.StreamRequestHandler):
    """Refuses to let anybody in, and repeats what it was told."""

    def handle(self) -> None:
        self.wfile.write(b"220 rude\r\n")
        for line in self.rfile:
            if line.upper().startswith(b"EHLO"):
                self.wfile.write(b"250-rude\r\n250 AUTH PLAIN\r\n")
            else:
                self.wfile.write(b"535 password=" + PASSWORD.encode() + b" is wrong: " + line.strip() + b"\r\n")


class PoliteMailServer(socketserver.StreamRequestHandler):
    """Takes every mail."""

    taken: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 polite\r\n")
        text: list[bytes] | None = None
        for line in self.rfile:
            if text is not None:
                text.append(line)
                if line == b".\r\n":
                    self.taken.append(b"".join(text).decode())
                    text = None
                    self.wfile.write(b"250 taken\r\n")
            elif line.upper().startswith(b"EHLO"):
                self.wfile.write(b"250-polite\r\n250 AUTH PLAIN\r\n")
            elif line.upper().startswith(b"DATA"):
                text = []
                self.wfile.write(b"354 go on\r\n")
            else:
                self.wfile.write(b"235 come in\r\n" if line.upper().startswith(b"AUTH") else b"250 yes\r\n")


class RudeGateway(BaseHTTPRequestHandler):
    """Refuses every request, and repeats the key that came with it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = self.headers.get("Authorization", "").rpartition(" ")[2]
        error = {"type": "invalid_request_error", "message": f"Invalid API Key provided: {key}; card {CARD}"}
        body = json.dumps({"error": error}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


def start(server: socketserver.BaseServer) -> str:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, port = server.server_address[:2]
    return f"{host}:{port}"


def production(database_url: str) -> dict[str, str]:
    """The environment of a production process whose every secret has the canary in it."""
    return {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "FLORIN_ENV": "production",
        "DATABASE_URL": database_url,
        "CELERY_BROKER_URL": f"memory://guest:broker-{SECRET}@localhost//",
        "SECRET_KEY": f"secret-key-{SECRET}-0123456789abcdefghijklmnopqrstuvwxyz-0123456789",
        "ALLOWED_HOSTS": "billing.example.com",
        "EMAIL_URL": f"smtp://florin:{PASSWORD}@{NOWHERE}",
        "FLORIN_PUBLIC_URL": "https://billing.example.com",
        "FLORIN_GATEWAY": "stripe",
        "FLORIN_STRIPE_SECRET_KEY": f"sk_live_{SECRET}",
        "FLORIN_STRIPE_WEBHOOK_SECRET": f"whsec_{SECRET}",
        "FLORIN_STRIPE_API_BASE": f"http://{NOWHERE}",
        "FLORIN_EXCHANGE_RATES_URL": f"http://rates:{PASSWORD}@{NOWHERE}/rates.csv?token={SECRET}",
    }


class Tour:
    """Goes from one broken place to the next."""

    def __init__(self, owner_url: str) -> None:
        import psycopg
        from django.db import connection
        from django.test import Client

        self.owner = psycopg.connect(owner_url, autocommit=True)
        self.connection = connection
        self.client = Client(raise_request_exception=False, headers={"Host": "billing.example.com"})
        self.client.cookies["tracking"] = f"cookie-{SECRET}"
        self.places: dict[str, dict[str, Any]] = {}
        self.sent: list[str] = []

    def visit(self, place: str, act: Callable[[], Any]) -> None:
        """Do what fails here; keep the answer, if there is one."""
        sys.stderr.write(json.dumps({"place": place}) + "\n")
        try:
            answer = act()
        except Exception as error:
            self.places[place] = {"raised": type(error).__name__}
            return
        status = getattr(answer, "status_code", None)
        if status is None:
            self.places[place] = {"said": str(answer)}
            return
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        self.places[place] = {
            "status": status, "headers": dict(answer.headers), "body": content.decode(errors="replace"),
        }  # fmt: skip

    def ask(self, method: str, path: str, body: Any = None, *, form: bool = False, **headers: str) -> Any:
        """Send a request that has the canary wherever a request can have it."""
        from django.test.client import MULTIPART_CONTENT, encode_multipart

        query = "" if path.startswith("/api/") else f"?email=query-{SECRET}&api_key={SECRET}"
        sent = {
            "Referer": f"https://billing.example.com/login?referer={SECRET}", "X-Tracking": f"header-{SECRET}",
            "User-Agent": f"agent-{SECRET}", "X-Request-Id": f"tour-{len(self.places)}", **headers,
        }  # fmt: skip
        if form:
            content, kind = encode_multipart("BoUnDaRyStRiNg", body or {}), MULTIPART_CONTENT
        else:
            content, kind = json.dumps(body or {}).encode(), "application/json"
        return self.client.generic(method, path + query, content, content_type=kind, headers=sent, secure=True)

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.ask(method, f"/api/v1{path}", body, Authorization=f"Bearer {self.key}", **headers)

    @contextlib.contextmanager
    def without(self, table: str) -> Iterator[None]:
        """A table is missing."""
        self.owner.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
        try:
            yield
        finally:
            self.owner.execute(f"ALTER TABLE {table}_away RENAME TO {table}")

    @contextlib.contextmanager
    def picky(self, table: str) -> Iterator[None]:
        """A table refuses every new row, and PostgreSQL says which row it was."""
        self.owner.execute(f"ALTER TABLE {table} ADD CONSTRAINT picky CHECK (false) NOT VALID")
        try:
            yield
        finally:
            self.owner.execute(f"ALTER TABLE {table} DROP CONSTRAINT picky")

    @contextlib.contextmanager
    def without_database(self) -> Iterator[None]:
        before = {name: self.connection.settings_dict[name] for name in ("HOST", "PORT")}
        self.connection.close()
        self.connection.settings_dict.update(HOST="127.0.0.1", PORT="9")
        try:
            yield
        finally:
            self.connection.close()
            self.connection.settings_dict.update(before)

    def settle(self, owner_password: str = PASSWORD) -> None:
        """Make the account, the key and the person that what follows is about."""
        from tests.factories import give_credits, make_account, make_key, make_meter, make_rate_card, make_user

        account = make_account("acme", name=f"Acme {NAME}")
        give_credits(account, "100")
        make_rate_card({make_meter(): "1"})
        self.key = make_key()[1]
        user = make_user(password=owner_password)
        user.is_staff = user.is_superuser = True
        user.save()


def go(tour: Tour) -> None:
    """All places, one after the other."""
    from django.conf import settings
    from django.core.management import call_command
    from django.test import override_settings
    from django.utils import timezone

    from billing import tasks
    from billing.invoicing import exchange
    from billing.ledger import pools
    from billing.payments import webhooks
    from billing.payments.gateways.contract import Delivery
    from tests.portal.test_sign_up import FORM

    charge = {"account": "acme", "meter": "tokens", "quantity": "1", "id": f"id-{NAME}"}
    sign_up = {**FORM, "email": f"{NAME}@example.com", "password1": PASSWORD, "name": NAME, "company": NAME}
    login = {"login": f"{NAME}@example.com", "password": PASSWORD}
    account = {"external_id": f"x-{NAME}", "name": NAME, "billing_email": f"{NAME}@example.com", "country": "DE"}
    event = {"account": "acme", "meter": "tokens", "quantity": "1", "id": NAME, "properties": {"card": CARD}}
    visit = tour.visit
    with tour.without("billing_creditpool"):
        visit("charge, no pools", lambda: tour.api("POST", "/charges", charge))
        visit("account, no pools", lambda: tour.api("POST", "/accounts", account))
        visit("job, no pools", lambda: tasks.verify_ledger.apply())
        visit("command, no pools", lambda: call_command("run_job", "verify-ledger"))
    with tour.picky("billing_usageevent"):
        visit("charge, refused row", lambda: tour.api("POST", "/charges", charge))
        visit("event, refused row", lambda: tour.api("POST", "/events", event))
    with tour.picky("billing_account"):
        visit("account, refused row", lambda: tour.api("POST", "/accounts", account, **{"Idempotency-Key": SECRET}))
        visit("sign-up, refused row", lambda: tour.ask("POST", "/signup", sign_up, form=True))
    with tour.without("billing_apikey"):
        visit("key, no keys", lambda: tour.api("GET", "/meters"))
    with tour.without("billing_user"):
        visit("login, no users", lambda: tour.ask("POST", "/login", login, form=True))
        visit("reset, no users", lambda: tour.ask("GET", f"/password-reset/key/1-{SECRET}-1/"))
    with tour.without("billing_invitation"):
        visit("invitation, no table", lambda: tour.ask("GET", f"/invitations/{SECRET}-1234567890"))
    with tour.without("django_session"):
        tour.client.cookies["__Host-sessionid"] = tour.client.cookies["sessionid"] = f"session{SECRET}"
        visit("page, no sessions", lambda: tour.ask("GET", "/profile"))
        visit("admin, no sessions", lambda: tour.ask("POST", "/admin/billing/account/", login, form=True))
    with tour.without_database():
        visit("charge, no database", lambda: tour.api("POST", "/charges", charge))
        visit("login, no database", lambda: tour.ask("POST", "/login", login, form=True))
        visit("health, no database", lambda: tour.ask("GET", "/health"))
        visit("job, no database", lambda: tasks.expire_holds.apply())
    tour.client.cookies.pop("sessionid", None)
    tour.client.cookies.pop("__Host-sessionid", None)
    with without_broker():
        visit("health, no broker", lambda: tour.ask("GET", "/health"))
        visit("sign-up, no broker", lambda: tour.ask("POST", "/signup", sign_up, form=True))
    visit(
        "works: sign-up", lambda: tour.ask("POST", "/signup", {**sign_up, "email": f"b{NAME}@example.com"}, form=True)
    )
    setup = {"return_url": f"https://app.example/back?state={SECRET}"}
    visit("gateway away", lambda: tour.api("POST", "/accounts/acme/card-setups", setup))
    rude = start(ThreadingHTTPServer(("127.0.0.1", 0), RudeGateway))
    with override_settings(FLORIN_STRIPE_API_BASE=f"http://{rude}"):
        visit("gateway refuses", lambda: tour.api("POST", "/accounts/acme/card-setups", setup))
    visit("webhook unsigned", lambda: tour.ask(
        "POST", "/api/v1/gateways/stripe/webhook", {"id": NAME}, **{"Stripe-Signature": f"t=1,v1={SECRET}"}
    ))  # fmt: skip
    odd = Delivery(
        event_id="evt_1", kind="charge.succeeded", payload={"type": "payment_intent.succeeded", "data": NAME}
    )
    visit("webhook not understood", lambda: webhooks.accept(gateway_name="stripe", delivery=odd, now=timezone.now()))
    visit("mail server away", lambda: tasks.deliver_notifications.apply())
    with mail_server(RudeMailServer):
        visit("mail server refuses", lambda: tasks.deliver_notifications.apply())
    with mail_server(PoliteMailServer):
        tasks.deliver_notifications.apply()
    visit("rates away", lambda: tasks.import_exchange_rates.apply())
    with mock.patch.object(exchange, "fetch", side_effect=ValueError(f"password={PASSWORD} in {settings.DATABASES}")):
        visit("job with a fault", lambda: tasks.import_exchange_rates.apply())
    with mock.patch.object(pools, "open_account", side_effect=lambda **given: int(given["name"])):
        visit("fault of ours", lambda: tour.api("POST", "/accounts", account))
    visit("forged form", lambda: forged(tour, login))
    visit("foreign host", lambda: tour.ask("GET", f"/invitations/{SECRET}-1234567890", Host="elsewhere.example"))
    visit("nowhere", lambda: tour.ask("GET", f"/nowhere/{SECRET}-1234567890"))


@contextlib.contextmanager
def without_broker() -> Iterator[None]:
    from config.celery import app

    before = app.conf.broker_url
    address = f"amqp://guest:broker-{SECRET}@{NOWHERE}//"
    with contextlib.ExitStack() as stack:
        for name in ("broker_url", "broker_read_url", "broker_write_url"):
            stack.callback(app.conf.__setitem__, name, app.conf[name])
            app.conf[name] = address
        app.pool.force_close_all()
        app._pool = app.amqp._producer_pool = None
        yield
    app._pool = app.amqp._producer_pool = None
    assert app.conf.broker_url == before


@contextlib.contextmanager
def mail_server(kind: type[socketserver.BaseRequestHandler]) -> Iterator[None]:
    """This kind of mail server is the one to use, and all mails are due."""
    from django.test import override_settings
    from django.utils import timezone

    from billing.notifications.models import NotificationDelivery

    NotificationDelivery.objects.update(due_at=timezone.now())
    host, _, port = start(socketserver.ThreadingTCPServer(("127.0.0.1", 0), kind)).partition(":")
    with override_settings(EMAIL_HOST=host, EMAIL_PORT=int(port)):
        yield


def forged(tour: Tour, form: dict[str, str]) -> Any:
    """A form without its token, from a client whose tokens are checked."""
    from django.test import Client

    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    headers = {"Host": "billing.example.com", "Referer": f"https://evil.example/?from={SECRET}"}
    return client.post(f"/login?next={SECRET}", form, headers=headers, secure=True)


def main(owner_url: str) -> None:
    import django

    django.setup()
    from django.conf import settings

    # Pages need no `collectstatic` here.
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    from celery.signals import before_task_publish

    tour = Tour(owner_url)
    before_task_publish.connect(lambda **sent: tour.sent.append(repr(sent)), weak=False)
    tour.settle()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        go(tour)
    tour.connection.close()
    rows = [
        row[0] for table, column in (
            ("billing_notificationdelivery", "last_error"), ("billing_gatewayevent", "last_error"),
        ) for row in tour.owner.execute(f"SELECT {column} FROM {table}")
    ]  # fmt: skip
    said = {
        "places": tour.places, "sent": tour.sent, "printed": printed.getvalue(), "rows": rows,
        "mails": PoliteMailServer.taken,
    }  # fmt: skip
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
