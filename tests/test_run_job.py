"""The command run_job."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from billing.ledger import holds, pools, posting
from billing.ledger.models import LedgerSeal
from tests.factories import make_account, make_issuer, make_plan
from tests.subscriptions.makers import subscribe

pytestmark = pytest.mark.smoke


@pytest.mark.django_db
def test_a_job_run_by_hand_does_what_the_worker_would(capsys: pytest.CaptureFixture[str]) -> None:
    pool = pools.get_main_pool(make_account().pk)
    early = timezone.now() - timedelta(hours=2)
    posting.grant(pool_id=pool.pk, amount=Decimal(10), kind="bonus", reference="g", now=early)
    hold = holds.place(pool_id=pool.pk, amount=Decimal(4), reference="h", now=early, expires_in_seconds=60)
    call_command("run_job", "expire-holds")
    hold.refresh_from_db()
    assert hold.state == "expired"
    assert "expire-holds: done" in capsys.readouterr().out


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(set(settings.CELERY_BEAT_SCHEDULE) - {"export-ledger-head"}))
def test_every_job_of_the_schedule_runs_twice_by_hand(name: str) -> None:
    for _ in range(2):
        call_command("run_job", name)


@pytest.mark.django_db
def test_a_job_that_parks_a_subscription_ends_with_an_error_after_the_others_renewed() -> None:
    make_issuer()
    version = make_plan(prices={"USD": {"fee": "50.00"}})
    early = timezone.now() - timedelta(days=40)
    broken, fine = (subscribe(make_account(), version, now=early) for _ in range(2))
    broken.period_ends_at += timedelta(days=90)
    broken.save()
    with pytest.raises(CommandError, match=r"renewal\.failed"):
        call_command("run_job", "renew-subscriptions")
    fine.refresh_from_db()
    broken.refresh_from_db()
    assert (fine.period_number > 1, broken.period_number, broken.parked_at is not None) == (True, 1, True)
    call_command("run_job", "renew-subscriptions")


@pytest.mark.django_db
def test_an_unknown_job_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(CommandError, match="expire-holds"):
        call_command("run_job", "no-such-job")
    assert not LedgerSeal.objects.exists()
