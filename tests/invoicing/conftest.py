"""Lumen GmbH of Germany sells; northwind of Germany buys. Tax services are a process of their own."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from billing.accounts.models import Account
from billing.invoicing.models import Issuer
from tests.factories import make_account, make_issuer


@pytest.fixture
def issuer(db: None) -> Issuer:
    return make_issuer(address="Lichtstr. 1\n10115 Berlin", email="billing@lumen.example")


@pytest.fixture
def account(db: None) -> Account:
    return make_account("northwind", currency="EUR", time_zone="Europe/Berlin")


@dataclass(frozen=True)
class Services:
    """The process that plays Stripe Tax and the VAT register."""

    url: str

    def go_wrong(self, *faults: str) -> None:
        """Let the next requests go wrong like this, one after the other; forget what was asked."""
        requests.post(f"{self.url}/control", json=faults, timeout=5)

    def calls(self) -> list[dict[str, Any]]:
        """What was asked."""
        return requests.get(f"{self.url}/calls", timeout=5).json()


@pytest.fixture(scope="session")
def _services_process() -> Iterator[Services]:
    script = Path(__file__).with_name("fake_services.py")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Services(f"http://127.0.0.1:{process.stdout.readline().strip()}")
        process.kill()


@pytest.fixture
def services(_services_process: Services, settings: Any) -> Services:
    """Both services at hand, the VAT register asked, and nothing going wrong."""
    _services_process.go_wrong()
    settings.FLORIN_VIES_URL = f"{_services_process.url}/vies"
    settings.FLORIN_VIES_TIMEOUT_SECONDS = 1
    settings.FLORIN_STRIPE_API_BASE = _services_process.url
    settings.FLORIN_STRIPE_SECRET_KEY = "sk_test_florin"
    settings.FLORIN_STRIPE_TIMEOUT_SECONDS = 1
    return _services_process
