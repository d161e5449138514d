"""acme of New York lives by the clock from 31 January 2027 on; Lumen sells a monthly plan."""

from datetime import UTC, datetime

import pytest

from billing.accounts.models import Account
from billing.catalog.models import PlanVersion
from billing.clock import advancing
from tests.factories import make_account, make_issuer
from tests.subscriptions.makers import make_team

# Midnight in New York.
START = datetime(2027, 1, 31, 5, tzinfo=UTC)
REAL = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def version(db: None) -> PlanVersion:
    make_issuer()
    return make_team()


@pytest.fixture
def account(version: PlanVersion) -> Account:
    account = make_account("acme", country="US", time_zone="America/New_York", now=START)
    advancing.open_clock(account_id=account.pk, starts_at=START, now=REAL)
    account.refresh_from_db()
    return account
