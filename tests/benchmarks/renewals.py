"""Renewing subscriptions that are all due at once: each has credits left that expire, an invoice to be numbered, and
credits to be granted."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.benchmarks import place
from tests.benchmarks.measuring import Processors, Result, Scale

WORKERS = 3


def renewals(scale: Scale, names: list[str], web: place.Web) -> list[Result]:
    """What several workers renew in a minute, in one run, to the last."""
    make_due_subscriptions(scale.renewals)
    place.analyze()
    workers = [_start_worker() for _ in range(WORKERS)]
    cpu = Processors(worker=lambda: [worker.pid for worker in workers], postgres=place.database_pids)
    rate = cpu.count(lambda: _run(workers, scale.renewals))
    return [
        Result(
            f"renewals in one run, {WORKERS} worker processes", "/min", rate, least=10_000,
            note=f"{scale.renewals:,} renewed; {cpu}",
        )
    ]  # fmt: skip


def _start_worker() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.renewing"]
    worker = subprocess.Popen(command, cwd=place.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if worker.stdout is None or worker.stdout.readline() != "ready\n":
        raise RuntimeError("a worker did not start")
    return worker


def _run(workers: list[subprocess.Popen[str]], expected: int) -> tuple[float, int]:
    """Let all of them go at the same moment; renewals a minute until the last has none left to do, and how many."""
    started = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    counts = [int(worker.stdout.readline()) for worker in workers if worker.stdout is not None]
    seconds = time.perf_counter() - started
    if sum(counts) != expected:
        raise RuntimeError(f"{counts} subscriptions of {expected} renewed")
    return 60 * expected / seconds, expected


def make_due_subscriptions(number: int, *, with_cards: bool = False) -> None:
    """Monthly subscriptions whose period has just ended: one made by the services, and copies of its rows. With cards
    each is charged to one of its own."""
    from billing.catalog import plans
    from billing.catalog.models import Plan, PlanPrice
    from billing.invoicing.models import Issuer
    from billing.ledger import pools
    from billing.payments import methods
    from billing.payments.sandbox_models import SandboxCard
    from billing.subscriptions.lifecycle import subscribing
    from billing.subscriptions.models import SubscriptionPeriod

    past = datetime.now(UTC) - timedelta(days=32)
    Issuer.objects.create(key="lumen", name="Lumen GmbH", country="DE", is_default=True)
    plan = Plan.objects.create(key="team", name="Team", created_at=past)
    version = plans.draft_version(plan_id=plan.pk, now=past)
    version.included_credits = Decimal(1000)
    version.rollover, version.rollover_percent = "share", Decimal(25)
    version.save()
    PlanPrice.objects.create(version=version, currency="USD", fee=Decimal("49.00"))
    plans.publish(version_id=version.pk, now=past)
    account = pools.open_account(
        name="Due", external_id="due", billing_email="billing@due.example", country="DE", now=past
    )
    subscription = subscribing.subscribe(
        account_id=account.pk, plan_version_id=version.pk, seats=0, collection="manual", reference="due",
        actor="benchmark", now=past,
    )  # fmt: skip
    pool = pools.get_main_pool(account.pk)
    allocation = subscription.allocations.get()
    lot_id = pool.grants.get().pk
    assert allocation.posting_id is not None
    copies = {
        "billing_account": (account.pk, {"external_id": "'due-' || n"}),
        "billing_creditpool": (pool.pk, {"account_id": f"{account.pk} + n"}),
        "billing_creditgrant": (lot_id, {"pool_id": f"{pool.pk} + n"}),
        "billing_posting": (allocation.posting_id, {"pool_id": f"{pool.pk} + n"}),
        "billing_subscription": (subscription.pk, {"account_id": f"{account.pk} + n", "reference": "'due-' || n"}),
        "billing_subscriptionperiod": (
            SubscriptionPeriod.objects.get().pk, {"subscription_id": f"{subscription.pk} + n"},
        ),
        "billing_allocation": (
            allocation.pk,
            {
                "subscription_id": f"{subscription.pk} + n",
                "reference": f"{subscription.pk} + n || ':1:1'",
                "posting_id": f"{allocation.posting_id} + n",
            },
        ),
    }  # fmt: skip
    if with_cards:
        card = methods.add_card(
            account_id=account.pk, number="4242424242424242", exp_month=12, exp_year=2040, cvc="123", make_default=True,
            now=past,
        )  # fmt: skip
        subscription.collection = "automatic"
        subscription.save(update_fields=["collection"])
        copies |= {
            "billing_paymentmethod": (
                card.pk, {"account_id": f"{account.pk} + n", "gateway_reference": "'card-' || n"},
            ),
            "billing_sandboxcard": (SandboxCard.objects.get().pk, {"reference": "'card-' || n"}),
        }  # fmt: skip
    place.copy_rows(copies, number - 1)
    place.copy_entries(allocation.posting_id, lot_id, number - 1)
