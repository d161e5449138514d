"""L3: postings, entries, seals, events and reversals only grow; published prices never change. As either role."""

import json
from datetime import timedelta

import pytest
from django.db import ProgrammingError, connection, transaction

from billing.accounts.models import AccountNote, StaffAct, User
from billing.catalog.models import Meter, Plan, PlanVersion, Rate, RateCard, RateCardVersion
from billing.checks import APPEND_ONLY_TABLES
from billing.invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine, Issuer
from billing.ledger import posting, sealing
from billing.subscriptions.models import Subscription, SubscriptionChange
from tests.ledger.makers import NOW, give, take

ROWS = {
    "billing_usageevent": {
        "account_id": 1, "event_id": "e", "source": "", "meter_id": 1, "pool_id": 1, "quantity": 1, "counted": 1,
        "properties": "{}", "occurred_at": NOW, "received_at": NOW, "late": False, "credits": 1, "unit_cost": 0,
        "burn_offset": 0,
        "period_starts_at": NOW, "fingerprint": b"x",
    },
    "billing_eventreversal": {
        "account_id": 0, "event_id": "e", "source": "", "credits": 1, "reason": "", "actor": "", "created_at": NOW,
    },
}  # fmt: skip


def columns_of(table):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [table],
        )
        return [name for (name,) in cursor.fetchall()]


COLUMNS = {
    "billing_posting": 20,
    "billing_ledgerentry": 7,
    "billing_usageevent": 19,
    "billing_eventreversal": 8,
    "billing_subscriptionchange": 12,
    "billing_ledgerseal": 5,
    "billing_sealedrange": 6,
    "billing_creditnote": 19,
    "billing_creditnoteline": 7,
    "billing_staffact": 13,
    "billing_accountnote": 5,
}


@pytest.fixture
def filled(pool):
    """Something in every append-only table."""
    give(pool, 10)
    posting.reverse(posting_id=take(pool, 4).pk, now=NOW)
    sealing.seal(now=NOW)
    for table, row in ROWS.items():
        row = {**row, "account_id": pool.account_id}
        names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
        connection.cursor().execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))
    document(pool.account)


def document(account):
    """A credit note with a line, an act of staff and a note."""
    issuer = Issuer.objects.create(key="us", name="Us", country="DE")
    invoice = Invoice.objects.create(account=account, issuer=issuer, reference="test", currency="EUR", created_at=NOW)
    line = InvoiceLine.objects.create(invoice=invoice, position=1, quantity=1, unit_price=1, amount=1)
    note = CreditNote.objects.create(
        account=account, invoice=invoice, number="CN-1", currency="EUR", subtotal=1, tax_total=0, total=1, issued_at=NOW
    )
    CreditNoteLine.objects.create(credit_note=note, invoice_line=line, amount=1)
    staff = User.objects.create_user("staff@example.com")
    StaffAct.objects.create(user=staff, account=account, act="change", model="account", acted_at=NOW)
    AccountNote.objects.create(account=account, author=staff, text="Called today.", noted_at=NOW)
    plan = Plan.objects.create(key="basic", name="Basic", created_at=NOW)
    version = PlanVersion.objects.create(plan=plan, number=1, created_at=NOW)
    subscription = Subscription.objects.create(
        account=account, reference="test", plan_version=version, currency="EUR", state="active", anchor_on=NOW.date(),
        period_starts_at=NOW, period_ends_at=NOW + timedelta(days=30), started_at=NOW, created_at=NOW,
    )  # fmt: skip
    SubscriptionChange.objects.create(subscription=subscription, act="subscribe", reference="test", at=NOW)


def rows_of(table):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")
        return [json.loads(row) for (row,) in cursor.fetchall()]


def assert_refused(statement, table, reason):
    """The statement fails for the reason, and the table is as it was."""
    assert allowed([statement], table, reason) == []


def allowed(statements, table, reason):
    """Those of the statements that do not fail for the reason; the table must be as it was."""
    before = rows_of(table)
    assert before, f"{table} is empty: the test would prove nothing"
    found = []
    for statement in statements:
        try:
            with transaction.atomic():
                connection.cursor().execute(statement)
                found.append(statement)
                transaction.set_rollback(True)
        except ProgrammingError as refusal:
            if reason not in str(refusal):
                found.append(f"{statement}: {refusal}")
    assert rows_of(table) == before
    return found


def statements(table):
    """Every way to change a table: each column on its own, all rows, some rows, none."""
    for column in columns_of(table):
        yield f"UPDATE {table} SET {column} = {column}"
    first = columns_of(table)[0]
    yield f"UPDATE {table} SET {first} = {first} WHERE false"
    yield f"DELETE FROM {table}"
    yield f"DELETE FROM {table} WHERE false"
    yield f"TRUNCATE {table} CASCADE"


def test_the_list_of_append_only_tables_is_complete():
    assert set(COLUMNS) == set(APPEND_ONLY_TABLES)


def test_the_runtime_role_has_no_privilege_to_change(filled, runtime_role):
    assert {table: len(columns_of(table)) for table in APPEND_ONLY_TABLES} == COLUMNS
    found = [each for table in COLUMNS for each in allowed(statements(table), table, "permission denied")]
    assert found == []


def test_triggers_refuse_it_even_to_the_owner(filled):
    connection.cursor().execute("SET CONSTRAINTS ALL IMMEDIATE")
    found = [each for table in COLUMNS for each in allowed(statements(table), table, "is append-only")]
    assert found == []


def test_upserting_and_merging_change_nothing_either(filled, runtime_role):
    found = []
    for table in COLUMNS:
        first = columns_of(table)[0]
        upsert = f"INSERT INTO {table} SELECT * FROM {table} ON CONFLICT DO NOTHING"
        merge = f"MERGE INTO {table} t USING (SELECT 1) AS x ON true WHEN MATCHED THEN DELETE"
        found += allowed([f"{upsert}; UPDATE {table} SET {first} = {first}", merge], table, "permission denied")
    assert found == []


def test_the_runtime_role_can_do_all_the_ledger_needs(pool, runtime_role):
    give(pool, 10)
    spent = take(pool, 4)
    posting.reverse(posting_id=spent.pk, now=NOW)
    assert sealing.seal(now=NOW) == 3


def test_the_runtime_role_cannot_switch_the_guard_off(filled, runtime_role):
    for statement in (
        "ALTER TABLE billing_posting DISABLE TRIGGER append_only",
        "DROP TRIGGER append_only ON billing_posting",
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION florin_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    ):
        with pytest.raises(ProgrammingError), transaction.atomic():
            connection.cursor().execute(statement)


@pytest.fixture
def published(db):
    """A published version with one rate."""
    meter = Meter.objects.create(key="tokens", name="Tokens", unit="token", created_at=NOW)
    card = RateCard.objects.create(key="list", name="List", created_at=NOW)
    version = RateCardVersion.objects.create(rate_card=card, number=1, created_at=NOW)
    Rate.objects.create(version=version, meter=meter, price=2)
    RateCardVersion.objects.filter(pk=version.pk).update(published_at=NOW, effective_at=NOW)
    version.refresh_from_db()
    return version


@pytest.fixture(params=["runtime", "owner"])
def role(request):
    """Each test as either role."""
    if request.param == "runtime":
        request.getfixturevalue("runtime_role")
    return request.param


def test_a_published_version_cannot_be_changed_or_deleted(published, role):
    for column in columns_of("billing_ratecardversion"):
        assert_refused(
            f"UPDATE billing_ratecardversion SET {column} = {column}", "billing_ratecardversion", "is published"
        )
    assert_refused("DELETE FROM billing_ratecardversion", "billing_ratecardversion", "is published")


def test_rates_of_a_published_version_cannot_be_changed_added_or_deleted(published, role):
    for column in columns_of("billing_rate"):
        assert_refused(f"UPDATE billing_rate SET {column} = {column}", "billing_rate", "published rate card version")
    assert_refused("DELETE FROM billing_rate", "billing_rate", "published rate card version")
    before = rows_of("billing_rate")
    with pytest.raises(ProgrammingError, match="published rate card version"), transaction.atomic():
        Rate.objects.create(version=published, meter=Meter.objects.get(), match={"model": "big"}, price=3)
    assert rows_of("billing_rate") == before


def test_a_rate_cannot_be_moved_into_a_published_version(published, role):
    draft = RateCardVersion.objects.create(rate_card=published.rate_card, number=2, created_at=NOW)
    rate = Rate.objects.create(version=draft, meter=Meter.objects.get(), match={"model": "big"}, price=3)
    before = rows_of("billing_rate")
    with pytest.raises(ProgrammingError, match="published rate card version"), transaction.atomic():
        Rate.objects.filter(pk=rate.pk).update(version=published)
    assert rows_of("billing_rate") == before
    # A draft's rates are free.
    Rate.objects.filter(pk=rate.pk).update(price=4)
    rate.delete()
    draft.delete()
