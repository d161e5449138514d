"""`manage.py seed_demo`: the same story every time, true to the last credit, and told once."""

import hashlib
import io
import itertools
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F, Sum

from billing.accounts import details, ids, keys
from billing.accounts.models import Account, ApiKey, Member
from billing.clock import moving, scenes
from billing.demo import cast, story
from billing.invoicing.models import CreditNote, Invoice
from billing.ledger import balance, pools
from billing.ledger.models import CreditGrant, Hold, Posting
from billing.management.commands import seed_demo
from billing.metering import ingest, verification
from billing.metering.models import EventReversal, RejectedEvent, UsageEvent
from billing.payments import credit_notes
from billing.payments.models import InvoiceCredit, Payment
from billing.subscriptions.lifecycle import changes, pause_cancel
from billing.subscriptions.models import Subscription
from tests.factories import make_account

# As primary keys are until 2032.
KEY = re.compile(r"(?<!\d)\d{18}(?!\d)")
UNTIL = "2026-07-14T10:20:00+00:00"
pytestmark = [pytest.mark.django_db, pytest.mark.long]

# Every row a story leaves behind, and which others it names; only the random parts of keys and invitations are left
# out.
TOLD = {
    "billing_posting": "*",
    "billing_ledgerentry": "*",
    "billing_creditgrant": "*",
    "billing_creditpool": "*",
    "billing_usageevent": "*",
    "billing_dailyusage": "*",
    "billing_eventreversal": "*",
    "billing_gaugeseries": "*",
    "billing_hold": "*",
    "billing_rejectedevent": "*",
    "billing_notification": "*",
    "billing_user": "*",
    "billing_member": "*",
    "billing_account": "*",
    "billing_rate": "*",
    "billing_ledgerseal": "*",
    "billing_apikey": "id, name, account_id, scopes, created_at, expires_at, revoked_at",
}


def seed(*options: str) -> tuple[str, str]:
    """What the command says: the logins, and its progress."""
    logins, progress = io.StringIO(), io.StringIO()
    call_command("seed_demo", "--until", UNTIL, *options, stdout=logins, stderr=progress)
    return logins.getvalue(), progress.getvalue()


def digest() -> str:
    """One number for all that is stored. Primary keys, which are made of the time, count by their order; what is hashed
    from them (all columns of bytes) does not count."""
    rows = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT column_name FROM information_schema.columns WHERE data_type = 'bytea'")
        hashed = [name for (name,) in cursor]
        for table, columns in TOLD.items():
            statement = f"SELECT (to_jsonb(t) - %s::text[])::text FROM (SELECT {columns} FROM {table}) t ORDER BY 1"
            cursor.execute(statement, [hashed])
            rows += [row for (row,) in cursor]
    text = re.sub(f"(?<=_){ids.PATTERN}", lambda found: str(int(found[0], 32)), "\n".join(rows))
    order = {key: str(place) for place, key in enumerate(sorted(set(KEY.findall(text))))}
    assert len(order) > 100
    return hashlib.sha256(KEY.sub(lambda found: order[found[0]], text).encode()).hexdigest()


@pytest.fixture
def sequences() -> Iterator[dict[str, int | None]]:
    """How far each sequence is, so that a story can be told twice with the same ids."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = current_schema()")
        yield dict(cursor.fetchall())


def told_and_forgotten(sequences: dict[str, int | None], *options: str) -> str:
    """The digest of a story, which leaves nothing behind, not even used ids."""
    with transaction.atomic():
        seed("--days", "16", *options)
        found = digest()
        transaction.set_rollback(True)
    with connection.cursor() as cursor:
        for name, value in sequences.items():
            cursor.execute("SELECT setval(%s::regclass, %s, %s)", [name, value or 1, value is not None])
    return found


def test_the_same_seed_tells_the_same_story_to_the_last_row(sequences):
    first = told_and_forgotten(sequences, "--seed", "7")
    assert told_and_forgotten(sequences, "--seed", "7") == first
    assert told_and_forgotten(sequences, "--seed", "8") != first


@pytest.mark.django_db(transaction=True)
def test_a_year_is_told_once_and_is_true_to_the_last_credit():
    started = time.monotonic()
    logins, progress = seed()
    print(f"seed_demo took {time.monotonic() - started:.1f} s: {progress.splitlines()[-1]}")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    assert verification.verify(now=UsageEvent.objects.latest("received_at").received_at).findings == []
    assert Account.objects.count() == len(cast.CUSTOMERS)
    assert 20_000 < UsageEvent.objects.count() < 80_000

    assert set(Posting.objects.values_list("act", flat=True)) == set(Posting.Act.values)
    assert set(Hold.objects.values_list("state", flat=True)) == set(Hold.State.values)
    kinds = set(CreditGrant.objects.values_list("kind", flat=True))
    assert kinds >= {"allocation", "purchase", "bonus", "rollover", "transfer", "overage", "overdraft", "goodwill"}
    assert CreditGrant.objects.filter(kind="bonus", expired__gt=0).exists()
    assert UsageEvent.objects.filter(event_id__startswith="gauge:", credits__gt=0).exists()
    assert EventReversal.objects.filter(credits__gt=0).exists()
    assert UsageEvent.objects.filter(late=True).exists()
    codes = set(RejectedEvent.objects.values_list("code", flat=True))
    assert codes == {"unknown_meter", "unknown_account", "invalid_quantity"}
    tidewater = Account.objects.get(external_id="tidewater")
    low = balance.read(
        pool_id=pools.get_main_pool(tidewater.pk).pk, now=UsageEvent.objects.latest("received_at").received_at
    )
    assert low.cycle is not None
    assert 90 <= low.cycle.percent < 100
    alerts = tidewater.notifications.filter(kind="threshold", state="pending").values_list(
        "payload__threshold", flat=True
    )
    assert sorted(alerts) == [75, 90]

    before = digest()
    again, progress = seed()
    assert (again, progress) == (logins, "Demo data is there already.\n")
    assert digest() == before
    live_through_another_month()


def make_trouble(now: datetime) -> Subscription:
    """What makes books hard to keep: a move to another country within a period and changes after it, one coupon on
    another, invoices credited in parts, usage of a month that has ended, a test account. Its subscription."""
    mover = Subscription.objects.exclude(state="ended").get(account__external_id="brightloop")
    details.change(account_id=mover.account_id, changes={"country": "FR", "tax_number": "FR40303265045"})
    for plan in ("team", "growth"):
        changes.change(
            subscription_id=mover.pk, plan_key=plan, when="now", by_staff=True, reference=plan, actor="test", now=now
        )
    assert CreditNote.objects.filter(account=mover.account_id).exists()
    pause_cancel.redeem(subscription_id=mover.pk, code="WELCOME20", reference="more", actor="test", now=now)
    renewed = Invoice.objects.filter(state=Invoice.State.PAID, reference__startswith="renewal:", amount_credited=0)
    parts = (("5.55", "payment"), ("7.77", "balance"))
    for invoice, (amount, place) in itertools.product(renewed.order_by("-pk")[:3], parts):
        credit_notes.credit(
            invoice_id=invoice.pk, amount=Decimal(amount), refund_to=place, reason="Goodwill", actor="test", now=now,
            reference=f"part:{invoice.pk}:{amount}",
        )  # fmt: skip
    event = {"id": "very-late", "account": "meridian", "meter": "llm-output", "quantity": 7000}
    late = {**event, "properties": {"model": "lumen-pro"}, "occurred_at": (now - timedelta(days=20)).isoformat()}
    assert [each.late for each in ingest.take_events(events=[late], now=now).results] == [True]
    return scenes.open_scene(
        plan_key="team", seats=5, coupon_code="WELCOME20", card_number="4242424242424242", currency="EUR", country="DE",
        time_zone="Europe/Berlin", starts_at=now, now=now,
    )  # fmt: skip


def live_through_another_month():
    """Every job in order for 32 days, with trouble; then all that was ever invoiced, credited, paid, deferred and
    earned meets, of customers and of test accounts."""
    before, ends = Invoice.objects.count(), "2026-08-15T10:20:00+00:00"
    tested = make_trouble(datetime.fromisoformat(UNTIL))
    call_command("simulate", "--from", UNTIL, "--to", ends, stdout=io.StringIO(), stderr=io.StringIO())
    moving.move(start=datetime.fromisoformat(UNTIL), end=datetime.fromisoformat(ends), account_id=tested.account_id)
    assert Invoice.objects.filter(account=tested.account_id, number__startswith="TESTINV-").exists()
    # Each plan by the month was renewed.
    assert Invoice.objects.count() - before >= 3
    assert not Subscription.objects.filter(parked_at__isnull=False).exists()
    assert verification.verify(now=datetime.fromisoformat(ends)).findings == []
    call_command("verify_invoices", stdout=io.StringIO(), stderr=io.StringIO())

    printed = io.StringIO()
    # What happened at the last moment of all lies before the report's end, which is half-open.
    after = (datetime.fromisoformat(ends) + timedelta(seconds=1)).isoformat()
    for of in ([], ["--test-accounts"]):
        call_command("finance_report", "--from", "2025-07", "--now", after, *of, stdout=printed)
        assert printed.getvalue().splitlines()[-1].endswith(" checks, 0 differences.")
    assert "were not compared" not in printed.getvalue()

    invoiced = Invoice.objects.filter(issued_at__isnull=False).exclude(state=Invoice.State.VOID)
    sums = invoiced.values("currency").annotate(
        due=Sum(F("total") - F("amount_credited")), kept=Sum(F("amount_paid") - F("amount_refunded"))
    )
    for row in sums:
        owed = sum(each.owed for each in invoiced.filter(currency=row["currency"]))
        paid = Payment.objects.filter(state=Payment.State.SUCCEEDED, currency=row["currency"])
        kept = paid.aggregate(kept=Sum(F("amount") - F("amount_refunded")))["kept"]
        credits = InvoiceCredit.objects.filter(currency=row["currency"]).aggregate(
            left=Sum(F("amount") - F("amount_used"))
        )
        assert (row["due"], row["kept"]) == (kept + owed - (credits["left"] or 0), kept), row["currency"]


def test_the_printed_logins_and_key_work():
    logins, _ = seed("--days", "4")
    for line in logins.splitlines():
        if line.startswith("  ") and "@" in line and "<" not in line:
            role, email = line.split()[:2]
            user = authenticate(username=email, password=cast.PASSWORD)
            assert user is not None
            assert user.is_staff == (role == "staff")
            assert role == "staff" or Member.objects.get(user=user).role == role
    assert cast.API_SECRET in logins
    key = keys.authenticate(secret=cast.API_SECRET, now=ApiKey.objects.latest("created_at").created_at)
    assert key.account is None


def test_a_story_that_was_not_told_to_its_end_is_not_taken_for_a_whole_one(monkeypatch):
    def fail(**_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(story, "run_jobs", fail)
    with pytest.raises(RuntimeError, match="killed"):
        seed("--days", "5")
    with pytest.raises(seed_demo.Interrupted, match="did not finish"):
        seed("--days", "5")
    assert not ApiKey.objects.filter(prefix=cast.API_PREFIX).exists()


def test_it_refuses_a_database_that_is_in_use():
    make_account("acme")
    with pytest.raises(CommandError, match="accounts of its own"):
        seed()
    assert not ApiKey.objects.exists()


def test_it_refuses_production(settings):
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="not in production"):
        seed()
    assert not Account.objects.exists()
