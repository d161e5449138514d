"""The fake Stripe as a test sees it: a process of its own, and its door for tests."""

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import stripe
from django.utils import timezone

from billing.accounts.models import Account
from billing.payments import methods
from billing.payments.gateways import contract, registry
from billing.payments.models import GatewayCustomer, PaymentMethod

SECRET = "whsec_test"
HERE = Path(__file__).resolve().parents[2]
ADDRESS = pytest.StashKey[str]()


class Stripe:
    """The other process."""

    def __init__(self, base: str) -> None:
        self.base = base

    def do(self, what: str, **params: object) -> Any:
        """Use the test's own door; the events so far, unless it has something else to say."""
        query = urllib.parse.urlencode(params)
        with urllib.request.urlopen(f"{self.base}/_control/{what}?{query}", timeout=10) as response:  # noqa: S310
            return json.load(response)

    def fail(self, at: str, how: str = "lose") -> None:
        """Break the next request to an address: `lose` its answer, or answer with a status without doing anything."""
        self.do("faults", at=at, how=how)

    def things(self, kind: str) -> list[dict[str, Any]]:
        """All it has of a kind."""
        return [thing for thing in self.do("things") if thing["object"] == kind]

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """What it has to report, of these kinds."""
        return [event for event in self.do("events") if not kinds or event["type"] in kinds]

    def card(self, account: Account, name: str = "pm_ok", **fields: Any) -> PaymentMethod:
        """A card that was typed on its page."""
        known = GatewayCustomer.objects.filter(account=account, gateway="stripe").first()
        if known is None:
            reference = registry.card_page("stripe").make_customer(
                key=f"c{account.pk}{time.time()}", name="x", email="y"
            )
            known = GatewayCustomer.objects.create(
                account=account, gateway="stripe", reference=reference, created_at=timezone.now()
            )
        card = contract.StoredCard(name, "Visa", "4242", 12, 2035)
        given = {"make_default": True, "now": timezone.now(), **fields}
        return methods.keep(
            account_id=account.pk, gateway_name="stripe", card=card, customer_reference=known.reference, **given
        )


def signed(event: dict[str, Any], *, secret: str = SECRET, at: int | None = None) -> tuple[bytes, dict[str, str]]:
    """An event as it is sent: body and headers."""
    body = json.dumps(event)
    header = stripe.WebhookSignature.generate_signature_header(body, secret, at)
    return body.encode(), {"Stripe-Signature": header}


def _start(config: pytest.Config) -> str:
    """The address of the other process, which runs until the tests end."""
    if ADDRESS not in config.stash:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.payments.stripe_server"], stdout=subprocess.PIPE, cwd=HERE, text=True
        )

        def stop() -> None:
            process.kill()
            process.communicate()

        config.add_cleanup(stop)
        assert process.stdout is not None
        config.stash[ADDRESS] = f"http://127.0.0.1:{int(process.stdout.readline())}"
    return config.stash[ADDRESS]


@pytest.fixture
def fake(settings: Any, pytestconfig: pytest.Config) -> Stripe:
    """One that remembers nothing yet, which collects for every account."""
    base = _start(pytestconfig)
    settings.FLORIN_GATEWAY = "stripe"
    settings.FLORIN_STRIPE_SECRET_KEY = "sk_test_1"
    settings.FLORIN_STRIPE_WEBHOOK_SECRETS = ["whsec_next", SECRET]
    settings.FLORIN_STRIPE_API_BASE = base
    running = Stripe(base)
    running.do("forget")
    return running
