import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core import mail
from django.utils import timezone

from billing import tasks
from billing.accounts.models import IdempotencyKey
from billing.ledger import holds, pools, posting
from billing.ledger.models import CreditPool, Hold, LedgerSeal
from billing.notifications.models import Notification
from config.celery import BEAT_SCHEDULE, app
from tests.factories import NOW, give_credits, make_account, make_key

pytestmark = pytest.mark.django_db


def test_every_scheduled_task_exists_and_every_task_is_scheduled():
    app.loader.import_default_modules()
    ours = {name for name in app.tasks if name.startswith("billing.tasks.")}
    assert {entry["task"] for entry in BEAT_SCHEDULE.values()} == ours


def test_every_route_leads_from_a_task_to_a_queue_that_workers_read():
    app.loader.import_default_modules()
    known = {queue.name for queue in app.conf.task_queues}
    for name, route in app.conf.task_routes.items():
        assert name in app.tasks
        assert route["queue"] in known


def test_lots_expire_after_the_grace():
    account = make_account()
    give_credits(account, "5", expires_at=timezone.now() - timedelta(hours=2))
    give_credits(account, "7", expires_at=timezone.now() - timedelta(minutes=30))
    tasks.expire_lots()
    tasks.expire_lots()
    assert CreditPool.objects.get().balance == 7


def test_holds_whose_time_is_up_are_closed():
    account = make_account()
    give_credits(account, "5")
    holds.place(pool_id=pools.get_main_pool(account.pk).pk, amount=Decimal(3), reference="h", now=NOW)
    tasks.expire_holds()
    assert Hold.objects.get().state == "expired"
    assert CreditPool.objects.get().held == 0


def test_the_ledger_is_sealed_verified_and_its_head_exported(settings, tmp_path):
    settings.FLORIN_SEAL_EXPORT_DIR = tmp_path
    give_credits(make_account(), "5")
    tasks.seal_ledger()
    tasks.verify_ledger()
    tasks.export_ledger_head()
    seal = LedgerSeal.objects.get()
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["digest"] == bytes(seal.digest).hex()
    assert not Notification.objects.exists()


def test_gauges_are_accrued():
    tasks.accrue_gauges()


def test_notifications_are_delivered():
    account = make_account()
    give_credits(account, "100")
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=Decimal(95), reference="s", now=NOW)
    tasks.deliver_notifications()
    assert ["75%" in mail.outbox[0].subject, "90%" in mail.outbox[1].subject] == [True, True]
    tasks.deliver_notifications()
    assert len(mail.outbox) == 2


def test_old_idempotency_keys_are_purged(settings):
    key, _ = make_key()
    for hours in (1, settings.FLORIN_IDEMPOTENCY_RETENTION_HOURS + 1):
        past = timezone.now() - timedelta(hours=hours)
        IdempotencyKey.objects.create(
            lineage=key.lineage, key=str(hours), fingerprint=b"x" * 32, created_at=past, locked_until=past,
            lease="00000000-0000-0000-0000-000000000000",
        )  # fmt: skip
    tasks.purge_idempotency_keys()
    assert [row.key for row in IdempotencyKey.objects.all()] == ["1"]
