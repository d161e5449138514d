"""Renew and collect 200 subscriptions, and park a corrupted one, while workers and the database are killed at random;
says in JSON what came of it. `python -m tests.faults.renewals_under_fire`; with `work` it is one of the workers, each a
scheduler of its own."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from tests.benchmarks import place

SUBSCRIPTIONS = 201
WORKERS = 3
LAST_SECONDS = 120


def main() -> None:
    """Prepare, shoot, finish in peace, do it all once more, and tell."""
    from tests.benchmarks.renewals import make_due_subscriptions

    with place.database():
        from django.db import connection

        from billing.subscriptions.models import Subscription

        make_due_subscriptions(SUBSCRIPTIONS, with_cards=True)
        corrupted = Subscription.objects.latest("pk")
        Subscription.objects.filter(pk=corrupted.pk).update(period_number=7)
        now = datetime.now(UTC)
        connection.close()
        killed = shoot(now)
        finish(now)
        first = found()
        finish(now)
        print(json.dumps({**first, **killed, "corrupted": corrupted.pk, "again": found() == first}))


def shoot(now: datetime) -> dict[str, int]:
    """Kill workers and the database while there is work; how often."""
    workers = [start(now) for _ in range(WORKERS)]
    dice, killed = random.Random(4), Counter(workers=0, database=0)
    deadline = time.monotonic() + LAST_SECONDS
    while time.monotonic() < deadline and (killed["workers"] < 4 or killed["database"] < 2):
        time.sleep(dice.uniform(0.05, 0.4))
        if killed["database"] < 2 and dice.random() < 0.4:
            for pid in place.database_pids():
                os.kill(pid, signal.SIGKILL)
            # Whoever keeps it may not have noticed yet that it is gone.
            while not place.SERVER.answers():
                place.SERVER.ensure()
                time.sleep(0.02)
            killed["database"] += 1
        else:
            index = dice.randrange(len(workers))
            workers[index].kill()
            workers[index].wait()
            workers[index] = start(now)
            killed["workers"] += 1
    for worker in workers:
        worker.kill()
        worker.wait()
    return {"workers_killed": killed["workers"], "database_killed": killed["database"]}


def start(now: datetime) -> subprocess.Popen[str]:
    """A worker, once it has begun."""
    command = [sys.executable, "-m", "tests.faults.renewals_under_fire", "work", now.isoformat()]
    worker = subprocess.Popen(command, cwd=place.ROOT, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    worker.stdout.readline()
    return worker


def work(now: datetime) -> None:
    """Do what is due, a few at a time, until killed; without a database wait for one."""
    import django

    django.setup()
    from django.db import InterfaceError, OperationalError, connection

    print("ready", flush=True)
    while True:
        try:
            if do_some(now, limit=7):
                continue
        except (OperationalError, InterfaceError):
            connection.close()
        time.sleep(0.05)


def do_some(now: datetime, *, limit: int) -> bool:
    """What the beat would start; whether there was something to do."""
    from billing.payments import checking, collecting
    from billing.subscriptions.followup import payment_news
    from billing.subscriptions.renewal import renewals

    done = renewals.run_due(now=now, limit=limit)
    looked = collecting.run_due(now=now, limit=limit)
    checked = checking.check_due(now=datetime.now(UTC), limit=limit)
    followed = payment_news.follow_up(now=now, limit=limit)
    return done != renewals.Round() or looked.looked > 0 or checked.asked > 0 or followed.followed > 0


def finish(now: datetime) -> None:
    """Go on in peace until nothing is left; what a killed worker had sent is asked about after a minute."""
    from billing.payments.models import Collection, Payment

    deadline = time.monotonic() + LAST_SECONDS
    while time.monotonic() < deadline:
        if not do_some(now, limit=50) and not Payment.objects.filter(state__in=Payment.LIVE).exists():
            break
        Payment.objects.filter(state__in=Payment.LIVE).update(next_check_at=now)
        Collection.objects.filter(state="open", next_at__gt=now).update(next_at=now)


def found() -> dict[str, Any]:
    """What the tables say."""
    from billing.invoicing.models import Invoice
    from billing.ledger.models import CreditPool, Posting
    from billing.metering import verification
    from billing.notifications.models import Notification
    from billing.payments.models import Payment
    from billing.payments.sandbox_models import SandboxCharge
    from billing.subscriptions.models import Subscription

    invoices = Invoice.objects.filter(reference__startswith="renewal:")
    numbers = sorted(int(str(number)[4:]) for number in Invoice.objects.values_list("number", flat=True))
    parked = Subscription.objects.exclude(parked_at=None)
    return {
        "renewed": Subscription.objects.filter(period_number=2, parked_at=None).count(),
        "invoices": invoices.count(),
        "paid": invoices.filter(state="paid").count(),
        "numbers_without_gap": numbers == list(range(1, len(numbers) + 1)),
        "charges": SandboxCharge.objects.filter(state="succeeded").count(),
        "payments": Payment.objects.filter(state="succeeded").count(),
        "allocations": Posting.objects.filter(reference__startswith="allocation:", posted_at__gte=_today()).count(),
        "balances": sorted({str(int(pool.balance)) for pool in CreditPool.objects.all()}),
        "notices": Notification.objects.filter(
            kind="invoice_issued", payload__invoice_id__in=[str(each) for each in invoices.values_list("pk", flat=True)]
        ).count(),
        "parked": list(parked.values_list("pk", flat=True)),
        "problems": list(parked.values_list("problem", flat=True)),
        "findings": [str(each) for each in verification.verify(now=datetime.now(UTC)).findings],
    }


def _today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(datetime.fromisoformat(sys.argv[2]))
    else:
        main()
