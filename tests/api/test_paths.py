"""How many files of ours an act passes, from the address or the job to the last row: what a reader must open.

The ceilings may fall, and never rise.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from tests.factories import give_credits, make_meter, make_rate_card
from tests.house import PRODUCT, ROOT
from tests.subscriptions.makers import make_team, run, subscribe

pytestmark = pytest.mark.django_db

FOLDERS = tuple(f"{ROOT / folder}/" for folder in PRODUCT)


def passed(act: Callable[[], object]) -> set[str]:
    """The files whose functions an act calls, once everything has been imported and read that a process reads once."""
    found: set[str] = set()

    def note(frame: object, event: str, _arg: object) -> None:
        name = frame.f_code.co_filename  # type: ignore[attr-defined]
        if event == "call" and name.startswith(FOLDERS):
            found.add(str(Path(name).relative_to(ROOT)))

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return found


def event(number: int) -> dict[str, object]:
    return {"id": f"e-{number}", "account": "acme", "meter": "tokens", "quantity": "5"}


@pytest.fixture
def tokens(acme, platform):
    """A meter with a price, and credits; one event was taken already."""
    give_credits(acme, "1000")
    make_rate_card({make_meter("tokens"): "1"})
    platform.post("/events", event(0))


@pytest.mark.parametrize(
    ("path", "body", "most"),
    [("/events", event(1), 34), ("/charges", {**event(2), "id": "c-1"}, 36)],
)
def test_usage_passes_few_files(platform, tokens, path, body, most):
    platform.post(path, {**body, "id": "warm"})
    found = passed(lambda: platform.post(path, body))
    assert len(found) <= most, sorted(found)


def test_a_purchase_passes_few_files(platform, shop):
    asked = {"pack": shop.key, "credits": "1000"}
    platform.post("/accounts/acme/purchases", {**asked, "reference": "warm"})
    found = passed(lambda: platform.post("/accounts/acme/purchases", {**asked, "reference": "one"}))
    assert len(found) <= 56, sorted(found)


def test_a_renewal_passes_few_files(acme, shop):
    subscription = subscribe(acme, make_team(), now=timezone.now())
    run(subscription.period_ends_at)
    subscription.refresh_from_db()
    found = passed(lambda: run(subscription.period_ends_at))
    assert len(found) <= 57, sorted(found)
