"""`manage.py verify_ledger`: exit codes, output, exported heads, parking; and verifying while others write."""

import json
import os
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import DatabaseError, connection

from billing.accounts.ids import encode
from billing.ledger import pool_acts, posting, sealing
from billing.ledger.models import LedgerSeal
from billing.ledger.pools import get_main_pool, open_pool
from billing.metering import verification
from billing.notifications.models import Notification
from tests.commands import exit_code
from tests.factories import make_account, make_user
from tests.ledger.makers import DAY, NOW, give, nothing_written, take
from tests.ledger.racing import race
from tests.notifications.makers import deliver

ROOT = Path(__file__).resolve().parents[2]


def break_pool(pool):
    """A difference that no constraint notices."""
    connection.cursor().execute("UPDATE billing_creditpool SET balance = balance + 1 WHERE id = %s", [pool.pk])


def break_seal():
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE billing_posting DISABLE TRIGGER append_only")
        cursor.execute("UPDATE billing_posting SET note = 'changed'")


def test_a_sound_ledger_exits_0_with_a_summary(pool, team, capsys):
    give(pool, 10)
    with nothing_written():
        assert exit_code("verify_ledger") == 0
    out, err = capsys.readouterr()
    assert out == "1 accounts, 2 pools, 1 postings (0 sealed): 0 differences.\n"
    assert "verifying lots …" in err
    assert "verifying sealed postings …" in err


def test_an_empty_ledger_is_sound(db, capsys):
    assert exit_code("verify_ledger") == 0
    assert capsys.readouterr().out == "0 accounts, 0 pools, 0 postings (0 sealed): 0 differences.\n"


def test_differences_exit_1_and_name_account_and_pool_and_repair_nothing(pool, mallory, capsys):
    give(pool, 10)
    break_pool(pool)
    with nothing_written():
        assert exit_code("verify_ledger") == 1
    out = capsys.readouterr().out.splitlines()
    where = f"{encode('acc', pool.account_id)} alice-org {encode('pool', pool.pk)} pool_balance:"
    assert out[0] == f"{where} sum of its lots: expected 10.000000, found 11.000000"
    assert out[-1] == "2 accounts, 2 pools, 1 postings (0 sealed): 2 differences."


def test_it_still_exits_1_the_second_time(pool):
    break_pool(pool)
    assert (exit_code("verify_ledger"), exit_code("verify_ledger")) == (1, 1)


def test_single_accounts_are_named_by_our_id_or_theirs(pool, mallory, capsys):
    break_pool(pool)
    assert exit_code("verify_ledger", "--account", "mallory-org") == 0
    assert exit_code("verify_ledger", "--account", encode("acc", mallory.account_id)) == 0
    assert exit_code("verify_ledger", "--account", "alice-org") == 1
    assert exit_code("verify_ledger", "--account", "mallory-org", "--account", encode("acc", pool.account_id)) == 1


def test_json_for_machines(pool, capsys):
    break_pool(pool)
    assert exit_code("verify_ledger", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["accounts"], answer["pools"], answer["postings"]) == (1, 1, 0)
    assert answer["findings"][0] == {
        "kind": "pool_balance", "account_id": pool.account_id, "pool_id": pool.pk, "subject": "sum of its lots",
        "expected": "0", "found": "1.000000",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["nobody", "acc_0000000000009", "acc_x", ""])
def test_an_unknown_account_exits_2(pool, name):
    assert exit_code("verify_ledger", "--account", name) == 2


def test_a_failing_database_exits_2(pool, monkeypatch):
    def lost(*_, **__):
        raise DatabaseError("server closed the connection")

    monkeypatch.setattr(verification, "verify", lost)
    assert exit_code("verify_ledger") == 2


def test_no_database_at_all_exits_2():
    environment = {**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "FLORIN_ENV": "test"}
    environment |= {"DJANGO_SETTINGS_MODULE": "config.settings_test"}
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_ledger"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "could not verify" in done.stderr


def test_heads_exported_before_prove_the_chain(pool, tmp_path):
    for day in range(3):
        give(pool, 1, reference=f"g{day}")
        sealing.seal(now=NOW + day * DAY)
        path = sealing.export_head(directory=tmp_path, now=NOW + day * DAY)
    assert exit_code("verify_ledger", "--heads", str(path)) == 0
    # All the days' files at once.
    assert exit_code("verify_ledger", "--heads", str(tmp_path)) == 0


def test_a_chain_made_anew_after_a_change_does_not_match_its_exported_head(pool, tmp_path, capsys):
    """Whoever changes a posting and seals all again passes every other check."""
    give(pool, 1)
    sealing.seal(now=NOW)
    path = sealing.export_head(directory=tmp_path, now=NOW)
    break_seal()
    with connection.cursor() as cursor:
        for table in ("billing_sealedrange", "billing_ledgerseal"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
            cursor.execute(f"DELETE FROM {table}")
    sealing.seal(now=NOW)
    assert exit_code("verify_ledger") == 0
    assert exit_code("verify_ledger", "--heads", str(path)) == 1
    assert "chain exported_head: seal" in capsys.readouterr().out


def test_a_head_of_which_the_chain_knows_nothing_is_a_difference(pool, tmp_path):
    give(pool, 1)
    sealing.seal(now=NOW)
    head = LedgerSeal.objects.get()
    for seal, digest in ((head.pk + 1, bytes(head.digest).hex()), (head.pk, "00" * 32)):
        path = tmp_path / "heads.jsonl"
        path.write_text(json.dumps({"seal": seal, "digest": digest}) + "\n")
        report = verification.verify(heads_file=path, now=NOW)
        assert [finding.kind for finding in report.findings] == ["exported_head"]


@pytest.mark.parametrize("content", [None, "not json\n", "[]\n", '{"seal": 1}\n', '{"seal": "x", "digest": ""}\n'])
def test_unreadable_heads_exit_2(db, tmp_path, content):
    path = tmp_path / "heads.jsonl"
    if content is not None:
        path.write_text(content)
    assert exit_code("verify_ledger", "--heads", str(path)) == 2


def test_parking_stops_the_accounts_that_differ_and_tells_staff(pool, mallory, capsys):
    give(pool, 10)
    give(mallory, 10)
    staff = make_user("carol")
    type(staff).objects.filter(pk=staff.pk).update(is_staff=True)
    break_pool(pool)
    assert exit_code("verify_ledger", "--park") == 1
    pool.account.refresh_from_db()
    mallory.account.refresh_from_db()
    assert pool.account.parked_at is not None
    assert pool.account.parked_reason.startswith("verify_ledger found 2 differences, first: pool_balance")
    assert mallory.account.parked_at is None
    with pytest.raises(pool_acts.AccountParked):
        take(pool, 1)
    take(mallory, 1)
    row = Notification.objects.get()
    assert (row.kind, row.email, row.account_id) == ("ledger_difference", "carol@example.com", None)
    assert (row.payload["account_id"], row.payload["differences"]) == (pool.account_id, 2)


def test_the_staffs_e_mail_says_what_differs(pool, mailoutbox):
    give(pool, 10)
    staff = make_user("carol")
    type(staff).objects.filter(pk=staff.pk).update(is_staff=True)
    break_pool(pool)
    verification.verify_and_park(now=NOW)
    assert deliver(now=NOW).sent == 1
    (mail,) = mailoutbox
    assert mail.to == ["carol@example.com"]
    assert mail.subject == "Ledger: Alice-Org is parked, 2 differences found"
    assert "- pool_balance: sum of its lots: expected 10.000000, found 11.000000" in mail.body


def test_parking_again_keeps_the_first_reason_and_tells_once_a_day(pool):
    break_pool(pool)
    verification.verify_and_park(now=NOW)
    verification.verify_and_park(now=NOW)
    assert Notification.objects.count() == 1
    verification.verify_and_park(now=NOW + DAY)
    assert Notification.objects.count() == 2
    pool.account.refresh_from_db()
    assert pool.account.parked_at == NOW


def test_a_broken_chain_parks_whom_it_names(pool, mallory):
    give(pool, 1)
    sealing.seal(now=NOW)
    give(mallory, 1)
    break_seal()
    connection.cursor().execute("ALTER TABLE billing_ledgerseal DISABLE TRIGGER append_only")
    connection.cursor().execute("UPDATE billing_ledgerseal SET digest = sha256('x')")
    report = verification.verify_and_park(now=NOW)
    assert {finding.kind for finding in report.findings} == {"sealed_postings", "seal_digest"}
    mallory.account.refresh_from_db()
    assert mallory.account.parked_at is None
    assert sorted(Notification.objects.values_list("payload__account_id", flat=True), key=str) == [
        pool.account_id, None,
    ]  # fmt: skip


def test_a_sound_ledger_parks_nobody(pool):
    give(pool, 1)
    with nothing_written():
        assert exit_code("verify_ledger", "--park") == 0


def test_parking_is_for_everything_or_nothing(pool):
    with nothing_written():
        assert exit_code("verify_ledger", "--park", "--account", "alice-org") == 2


@pytest.mark.django_db(transaction=True)
def test_verifying_sees_one_moment_while_others_write():
    account = make_account("alice-org", now=NOW)
    here, there = get_main_pool(account.pk), open_pool(account=account, key="research", name="R", now=NOW)
    give(here, 1000)
    finished = threading.Event()
    findings = []

    def writing():
        for number in range(60):
            take(here, 1)
            posting.transfer(
                from_pool_id=here.pk, to_pool_id=there.pk, amount=Decimal(2), reference=f"t{number}", now=NOW
            )
            sealing.seal(now=NOW)
        finished.set()

    def verifying():
        while not finished.is_set():
            findings.extend(verification.verify(now=NOW).findings)

    race([writing, verifying])
    assert findings == []
