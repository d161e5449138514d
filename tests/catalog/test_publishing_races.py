"""Publishing while somebody edits the draft: what is checked is what is published."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from billing.catalog import plans, rate_cards
from billing.catalog.models import PlanPrice, PlanVersion, Rate, RateCardVersion
from tests.factories import NOW, make_meter, make_plan, make_rate_card

pytestmark = pytest.mark.django_db(transaction=True)

LATER = NOW + timedelta(days=1)
LONG_SECONDS = 30


def meanwhile(act: Callable[[], object]) -> tuple[ThreadPoolExecutor, "Future[str]"]:
    """Begin an act in another connection, and go on once it waits for a lock of ours (or is done)."""

    def run() -> str:
        try:
            act()
            return "done"
        except (plans.NotPublishable, rate_cards.NotPublishable, DatabaseError) as error:
            return type(error).__name__
        finally:
            connection.close()

    threads = ThreadPoolExecutor(1)
    ending = threads.submit(run)
    give_up_at = time.monotonic() + LONG_SECONDS
    while not ending.done() and time.monotonic() < give_up_at:
        with connection.cursor() as cursor:
            # In a transaction the view shows what it showed first.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
            )
            if cursor.fetchone()[0]:
                break
        time.sleep(0.01)
    return threads, ending


@pytest.fixture
def draft() -> PlanVersion:
    return plans.draft_from(version_id=make_plan(prices={"EUR": {"fee": "49.00"}}).pk, now=NOW)


@pytest.fixture
def draft_card() -> RateCardVersion:
    version = make_rate_card({make_meter(): "1"}).versions.get()
    return rate_cards.draft_from(version_id=version.pk, now=NOW)


def test_a_price_that_is_being_edited_is_checked_as_it_becomes(draft):
    with transaction.atomic():
        PlanPrice.objects.filter(version=draft).update(fee=Decimal("49.999"))
        threads, ending = meanwhile(lambda: plans.publish(version_id=draft.pk, now=NOW))
        assert not ending.done()
    assert ending.result(LONG_SECONDS) == "NotPublishable"
    threads.shutdown()
    draft.refresh_from_db()
    assert draft.published_at is None


def test_terms_that_are_being_edited_are_checked_as_they_become(draft):
    with transaction.atomic():
        PlanVersion.objects.filter(pk=draft.pk).update(trial_credits=5)
        threads, ending = meanwhile(lambda: plans.publish(version_id=draft.pk, now=NOW))
        assert not ending.done()
    assert ending.result(LONG_SECONDS) == "NotPublishable"
    threads.shutdown()
    draft.refresh_from_db()
    assert draft.published_at is None


def test_a_price_is_not_edited_any_more_once_its_version_is_being_published(draft):
    with transaction.atomic():
        plans.publish(version_id=draft.pk, now=NOW)
        threads, ending = meanwhile(lambda: PlanPrice.objects.filter(version=draft).update(fee=Decimal(1)))
        assert not ending.done()
    assert ending.result(LONG_SECONDS) in ("InternalError", "ProgrammingError")
    threads.shutdown()
    assert PlanPrice.objects.get(version=draft).fee == Decimal("49.00")


def test_a_price_of_another_draft_is_edited_meanwhile(draft):
    other = plans.draft_from(version_id=draft.pk, now=NOW)
    with transaction.atomic():
        plans.publish(version_id=draft.pk, now=NOW)
        threads, ending = meanwhile(lambda: PlanPrice.objects.filter(version=other).update(fee=Decimal(1)))
        assert ending.result(LONG_SECONDS) == "done"
    threads.shutdown()
    assert PlanPrice.objects.get(version=other).fee == Decimal(1)


def test_a_rate_that_is_being_edited_is_checked_as_it_becomes(draft_card):
    with transaction.atomic():
        Rate.objects.filter(version=draft_card).delete()
        threads, ending = meanwhile(lambda: rate_cards.publish(version_id=draft_card.pk, effective_at=LATER, now=NOW))
        assert not ending.done()
    assert ending.result(LONG_SECONDS) == "NotPublishable"
    threads.shutdown()
    draft_card.refresh_from_db()
    assert draft_card.published_at is None
