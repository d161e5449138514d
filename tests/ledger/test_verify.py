"""verify_ledger finds nothing where nothing is wrong, and names each kind of difference where something is."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection

from billing.catalog.models import Meter, Rate, RateCard, RateCardVersion
from billing.ledger import expiry, holds, posting, sealing
from billing.ledger.models import CreditGrant, Posting
from billing.ledger.moves import RolloverRule
from billing.metering import ingest, reversal, verification
from tests.ledger.makers import DAY, HOUR, NOW, give, hold, nothing_written, set_policy, take
from tests.undoing import undone


@pytest.fixture
def busy(pool, team, mallory, bob):
    """Some of everything: lots of each kind, debt owed and repaid, holds, reversals, usage, seals. Returns the pool."""
    meter = Meter.objects.create(key="tokens", name="Tokens", unit="token", created_at=NOW - DAY)
    card = RateCard.objects.create(key="list", name="List", is_default=True, created_at=NOW)
    version = RateCardVersion.objects.create(rate_card=card, number=1, created_at=NOW)
    Rate.objects.create(version=version, meter=meter, price=2)
    RateCardVersion.objects.filter(pk=version.pk).update(published_at=NOW - DAY, effective_at=NOW - DAY)
    give(pool, 100, kind="allocation", expires_at=NOW + DAY)
    give(pool, 50, kind="purchase", cost_basis=Decimal("0.07"), expires_at=NOW + HOUR)
    give(pool, 1, priority=90, expires_at=NOW + HOUR)
    give(mallory, 30)
    spent = take(pool, 60, member_id=bob.pk)
    posting.reverse(posting_id=spent.pk, now=NOW)
    posting.transfer(from_pool_id=pool.pk, to_pool_id=team.pk, amount=Decimal(20), reference="t", now=NOW)
    part = hold(pool, 9)
    holds.capture(hold_id=part.pk, amount=Decimal(4), final=False, now=NOW)
    set_policy(team, "burst", burst=40)
    take(team, 35)
    give(team, 5)
    hold(team, 3)
    set_policy(mallory, "overage")
    take(mallory, 40)
    events = [{"id": f"e{number}", "account": "alice-org", "meter": "tokens", "quantity": "1.5"} for number in range(4)]
    assert ingest.take_events(events=events, now=NOW).accepted == 4
    assert ingest.take_events(events=[{**events[0], "account": "mallory-org"}], now=NOW).accepted == 1
    reversal.reverse_event(account_id=pool.account_id, event_id="e1", now=NOW)
    expiry.expire_due(now=NOW + 2 * HOUR, grace_seconds=0)
    posting.roll_over(
        pool_id=pool.pk, ends_at=NOW + DAY, new_expires_at=NOW + 9 * DAY, reference="r", now=NOW + DAY,
        rule=RolloverRule(cap=Decimal(10), max_periods=1),
    )  # fmt: skip
    sealing.seal(now=NOW + DAY)
    take(mallory, 1, now=NOW + DAY)
    hold(pool, 2, now=NOW + DAY)
    return pool


def as_owner(*statements):
    """Change rows that nobody may change: without triggers, and without the constraints that would notice."""
    lift_guards()
    change(*statements)


def lift_guards():
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("billing_posting", "billing_ledgerentry", "billing_usageevent", "billing_ledgerseal"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
        cursor.execute("ALTER TABLE billing_sealedrange DISABLE TRIGGER append_only")
        for table, constraint in (
            ("billing_creditgrant", "grant_identity"),
            ("billing_creditgrant", "grant_amounts_sane"),
            ("billing_creditpool", "pool_amounts_sane"),
            ("billing_posting", "posting_adds_up"),
        ):
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}")


def change(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            assert cursor.rowcount >= 1, f"changed nothing: {statement}"
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def verified(**options):
    """Verify, having asserted that it writes nothing."""
    with nothing_written():
        return verification.verify(**{"now": NOW, **options})


LOT = "WHERE id = (SELECT id FROM billing_creditgrant WHERE kind = 'purchase')"
SPEND = "(SELECT min(id) FROM billing_posting WHERE act = 'spend')"
POOL = "WHERE key = 'main' AND account_id = (SELECT id FROM billing_account WHERE external_id = 'alice-org')"
CORRUPTIONS = {
    "lot_identity": f"UPDATE billing_creditgrant SET remaining = remaining + 1 {LOT}",
    "lot_amount": f"UPDATE billing_creditgrant SET amount = amount + 1, remaining = remaining + 1 {LOT}",
    "lot_remaining": f"UPDATE billing_creditgrant SET remaining = remaining + 1, spent = spent - 1 {LOT}",
    "lot_spent": f"UPDATE billing_creditgrant SET spent = spent + 1, reversed = reversed + 1 {LOT}",
    "lot_reversed": f"UPDATE billing_creditgrant SET reversed = reversed + 1 {LOT}",
    "lot_expired": f"UPDATE billing_creditgrant SET expired = expired - 1, revoked = revoked + 1 {LOT}",
    "lot_revoked": f"UPDATE billing_creditgrant SET revoked = revoked + 1, transferred = transferred - 1 {LOT}",
    "lot_transferred": f"UPDATE billing_creditgrant SET transferred = transferred + 1 {LOT}",
    "lot_openness": "UPDATE billing_creditgrant SET is_open = false WHERE remaining > 0",
    "lot_held": "UPDATE billing_creditgrant SET held = held + 1 WHERE held > 0",
    "pool_balance": f"UPDATE billing_creditpool SET balance = balance + 0.000001 {POOL}",
    "pool_held": f"UPDATE billing_creditpool SET held = held + 1 {POOL}",
    "pool_held_uncovered": f"UPDATE billing_creditpool SET held_uncovered = 1 {POOL}",
    "pool_overdraft": f"UPDATE billing_creditpool SET overdraft = overdraft + 1 {POOL}",
    "pool_version": f"UPDATE billing_creditpool SET version = version + 1 {POOL}",
    "hold_captured": "UPDATE billing_hold SET captured = captured + 1 WHERE captured > 0",
    "entry_pool": "UPDATE billing_ledgerentry SET grant_id = (SELECT max(id) FROM billing_creditgrant WHERE"
    f" kind = 'overage') WHERE line = 1 AND posting_id = {SPEND}",
    "posting_amount": f"UPDATE billing_posting SET amount = amount - 1 WHERE id = {SPEND}",
    "posting_credits": f"UPDATE billing_posting SET credits = credits + 1 WHERE id = {SPEND}",
    "posting_version": "UPDATE billing_posting SET version = version + 100 WHERE reference = 'r'",
    "posting_balance_before": f"UPDATE billing_posting SET balance_after = balance_after + 1 WHERE id = {SPEND}",
    "usage_credits": "UPDATE billing_usageevent SET credits = credits + 1 WHERE event_id = 'e2'",
    "usage_posting": "UPDATE billing_usageevent SET posting_id = NULL WHERE event_id = 'e2'",
    "daily_events": "UPDATE billing_dailyusage SET events = events + 1",
    "daily_quantity": "UPDATE billing_dailyusage SET quantity = quantity + 1",
    "daily_credits": "UPDATE billing_dailyusage SET credits = credits - 1",
    "usage_counter": "UPDATE billing_usagecounter SET period_starts_at = period_starts_at - interval '1 month'",
    "sealed_postings": f"UPDATE billing_posting SET note = 'changed' WHERE id = {SPEND}",
    "sealed_range": "UPDATE billing_sealedrange SET first_version = 2 WHERE first_version = 1",
    "seal_digest": "UPDATE billing_ledgerseal SET digest = sha256('other')",
    "seal_postings": "UPDATE billing_ledgerseal SET postings = postings + 1",
}


def test_nothing_is_found_where_nothing_is_wrong(busy):
    report = verified()
    assert report.findings == []
    assert (report.accounts, report.pools, report.verified_at) == (2, 3, NOW)
    assert report.postings == Posting.objects.count() == report.sealed + 1
    acts = set(Posting.objects.values_list("act", flat=True))
    assert acts == set(Posting.Act.values) - {"revoke"}, "the fixture should try every act"
    assert CreditGrant.objects.filter(kind="overdraft", is_open=True).exists()


def test_each_difference_is_found_and_named(busy):
    lift_guards()
    wrong = {}
    for kind, statement in CORRUPTIONS.items():
        with undone():
            change(statement)
            findings = [finding for finding in verified().findings if finding.kind == kind]
        if not findings:
            wrong[kind] = "not found"
        elif not all(finding.expected != finding.found for finding in findings):
            wrong[kind] = "expects what it found"
        elif not kind.startswith("seal_") and busy.account_id not in {finding.account_id for finding in findings}:
            wrong[kind] = "does not name the account"
        elif (
            not kind.startswith(("seal_", "daily_", "usage_counter"))
            and kind not in ("lot_openness", "lot_held")
            and busy.pk not in {finding.pool_id for finding in findings}
        ):
            wrong[kind] = "does not name the pool"
    assert wrong == {}
    assert len(CORRUPTIONS) == 31
    assert verified().findings == []


def test_a_deleted_event_entry_or_posting_is_found(busy):
    as_owner("DELETE FROM billing_usageevent WHERE event_id = 'e2'")
    assert {"usage_credits", "usage_counter", "daily_events", "daily_quantity", "daily_credits"} == kinds(verified())
    as_owner(f"DELETE FROM billing_ledgerentry WHERE posting_id = {SPEND}")
    assert {"lot_spent", "lot_remaining", "posting_amount", "posting_credits", "sealed_postings"} <= kinds(verified())


def kinds(report):
    return {finding.kind for finding in report.findings}


def test_all_events_of_a_posting_deleted_is_found(busy):
    as_owner("DELETE FROM billing_usageevent", "DELETE FROM billing_dailyusage")
    assert kinds(verified()) == {"usage_credits", "usage_counter"}


def test_one_account_can_be_examined_alone(busy, mallory):
    as_owner(CORRUPTIONS["pool_balance"], CORRUPTIONS["sealed_postings"])
    assert verified(account_ids=[mallory.account_id]).findings == []
    report = verified(account_ids=[busy.account_id])
    assert kinds(report) == {"pool_balance", "sealed_postings"}
    assert (report.accounts, report.pools) == (1, 2)
    assert report.postings == Posting.objects.filter(pool__account=busy.account_id).count()
    assert verified(account_ids=[]).postings == 0


def test_a_finding_says_what_was_expected_and_what_found(busy):
    as_owner(f"UPDATE billing_creditpool SET balance = balance + 1 {POOL}")
    right = Posting.objects.filter(pool=busy).latest("version").balance_after
    first, second = verified().findings
    assert str(first) == f"pool_balance: sum of its lots: expected {right}, found {right + 1}"
    assert str(second) == f"pool_balance: its last posting: expected {right}, found {right + 1}"
    assert (first.account_id, first.pool_id) == (busy.account_id, busy.pk)


def test_a_change_of_any_sealed_column_is_found(busy):
    """Also of those that no identity knows, one after the other, each put back."""
    changes = {
        "billing_posting": {
            "reference": "reference || 'x'", "fingerprint": "'x'", "posted_at": "posted_at + interval '1 us'",
            "occurred_at": "occurred_at - interval '1 us'", "meter_id": "(SELECT id FROM billing_meter)",
            "member_id": "(SELECT id FROM billing_member)", "counterpart_id": "1", "actor": "'x'", "note": "'x'",
            "act": "'revoke'", "overdraft_after": "overdraft_after + 1",
        },
        "billing_ledgerentry": {"reverses_line": "7", "repays_id": "7", "flow": "'expire'"},
    }  # fmt: skip
    first = Posting.objects.filter(pool=busy, act="spend", member=None).earliest("version")
    as_owner("UPDATE billing_creditpool SET balance = balance")
    for table, columns in changes.items():
        key = "id" if table == "billing_posting" else "posting_id"
        for column, value in columns.items():
            with connection.cursor() as cursor:
                cursor.execute("SAVEPOINT intact")
                cursor.execute(f"UPDATE {table} SET {column} = {value} WHERE {key} = {first.pk}")
                assert "sealed_postings" in kinds(verification.verify(now=NOW)), f"{table}.{column}"
                cursor.execute("ROLLBACK TO SAVEPOINT intact")
    assert verification.verify(now=NOW).findings == []


def test_progress_says_what_comes_next(busy):
    said = []
    verification.verify(now=NOW, progress=said.append)
    assert said[0] == "lots"
    assert said[-1] == "sealed postings"
    assert len(said) == len(set(said)) == 14


def test_a_daily_total_of_nothing_is_found(busy):
    day = (NOW - timedelta(days=3)).date()
    as_owner(
        "INSERT INTO billing_dailyusage (account_id, meter_id, day, events, quantity, credits, cost) SELECT account_id,"
        f" meter_id, '{day}', 1, 0, 0, 0 FROM billing_dailyusage WHERE account_id = {busy.account_id}"
    )
    assert kinds(verified()) == {"daily_events"}
