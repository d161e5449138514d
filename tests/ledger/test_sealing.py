"""The hash chain over postings: what a seal covers, and its exported head."""

import hashlib
import json
from datetime import UTC
from decimal import Decimal

import pytest
from django.core.management import call_command

from billing.ledger import posting, sealing
from billing.ledger.models import LedgerSeal, Posting, SealedRange
from billing.ledger.pools import get_main_pool
from tests.factories import make_account
from tests.ledger.makers import DAY, NOW, assert_proven, give, nothing_written, take
from tests.ledger.racing import race


def ranges():
    return list(SealedRange.objects.order_by("pk").values_list("pool_id", "first_version", "last_version"))


def test_sealing_covers_every_posting_once(pool, team):
    give(pool, 10)
    give(team, 10)
    take(pool, 1)
    assert sealing.seal(now=NOW) == 3
    assert ranges() == [(pool.pk, 1, 2), (team.pk, 1, 1)]
    with nothing_written():
        assert sealing.seal(now=NOW) == 0
    take(team, 1)
    assert sealing.seal(now=NOW + DAY) == 1
    assert ranges()[2:] == [(team.pk, 2, 2)]
    first, second = LedgerSeal.objects.order_by("pk")
    assert (first.previous, second.previous, first.postings, second.postings) == (None, first, 3, 1)
    assert (first.sealed_at, second.sealed_at) == (NOW, NOW + DAY)
    assert_proven()


def test_with_nothing_posted_there_is_nothing_to_seal(db, tmp_path):
    assert sealing.seal(now=NOW) == 0
    assert sealing.export_head(directory=tmp_path, now=NOW) is None
    assert list(tmp_path.iterdir()) == []


def test_large_backlogs_are_sealed_in_batches(pool, team):
    for _ in range(4):
        give(pool, 1)
        give(team, 1)
    assert sealing.seal(now=NOW, batch=3) == 8
    assert ranges() == [(pool.pk, 1, 3), (pool.pk, 4, 4), (team.pk, 1, 2), (team.pk, 3, 4)]
    assert list(LedgerSeal.objects.order_by("pk").values_list("postings", flat=True)) == [3, 3, 2]
    assert_proven()


def test_a_digest_can_be_recomputed_by_hand(pool):
    """The published recipe, written out for one posting: an auditor needs nothing else."""
    posted = posting.grant(
        pool_id=pool.pk, amount=Decimal("1.5"), kind="bonus", reference='quote " and é', now=NOW, note="n", actor="a"
    )
    sealing.seal(now=NOW)
    micros = int(NOW.timestamp()) * 1_000_000
    lot = posted.entries.get().grant_id
    text = (
        f'[{pool.pk}, 1, {posted.pk}, "grant", "quote \\" and é", null, 1.500000, 1.500000, 0.000000, 1.500000, '
        f'0.000000, {micros}, {micros}, null, null, null, null, null, "a", "n", '
        f'[[1, {lot}, "grant", 1.500000, null, null]]]'
    )
    of_range = hashlib.sha256(text.encode() + b"\n").digest()
    assert bytes(SealedRange.objects.get().digest) == of_range
    seal = LedgerSeal.objects.get()
    assert bytes(seal.digest) == hashlib.sha256(f"{pool.pk}:1-1:".encode() + of_range).digest()
    take(pool, 1)
    sealing.seal(now=NOW)
    second, second_range = LedgerSeal.objects.latest("pk"), SealedRange.objects.latest("pk")
    linked = bytes(seal.digest) + f"{pool.pk}:2-2:".encode() + bytes(second_range.digest)
    assert bytes(second.digest) == hashlib.sha256(linked).digest()


def test_a_posting_behind_a_gap_is_not_sealed(pool):
    give(pool, 1)
    Posting.objects.create(
        pool=pool, version=3, act="grant", reference="x", credits=0, amount=0, balance_before=1, balance_after=1,
        overdraft_after=0, posted_at=NOW, occurred_at=NOW,
    )  # fmt: skip
    assert sealing.seal(now=NOW) == 1
    assert ranges() == [(pool.pk, 1, 1)]


@pytest.mark.django_db(transaction=True)
def test_sealers_at_once_do_not_fork_the_chain():
    pool = get_main_pool(make_account("alice-org", now=NOW).pk)
    for _ in range(30):
        give(pool, 1)

    def spending():
        for _ in range(20):
            take(pool, 1)

    race([lambda: sealing.seal(now=NOW, batch=4)] * 5 + [spending])
    sealing.seal(now=NOW)
    seals = list(LedgerSeal.objects.order_by("pk"))
    assert [seal.previous_id for seal in seals] == [None, *(seal.pk for seal in seals[:-1])]
    assert sum(seal.postings for seal in seals) == 50
    assert_proven()


def test_the_head_is_appended_to_the_days_file(pool, tmp_path):
    folder = tmp_path / "seals" / "here"
    give(pool, 1)
    sealing.seal(now=NOW)
    path = sealing.export_head(directory=folder, now=NOW)
    take(pool, 1)
    sealing.seal(now=NOW)
    assert sealing.export_head(directory=folder, now=NOW) == path == folder / "seals-2026-03-10.jsonl"
    assert sealing.export_head(directory=folder, now=NOW + DAY) == folder / "seals-2026-03-11.jsonl"
    first, second = LedgerSeal.objects.order_by("pk")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {
            "seal": seal.pk, "digest": bytes(seal.digest).hex(), "sealed_at": NOW.astimezone(UTC).isoformat(),
            "postings": total, "exported_at": NOW.astimezone(UTC).isoformat(),
        }
        for seal, total in ((first, 1), (second, 2))
    ]  # fmt: skip


def test_the_command_seals_and_exports(pool, tmp_path, capsys, settings):
    give(pool, 1)
    call_command("seal_ledger")
    assert capsys.readouterr().out == "Sealed 1 postings.\n"
    call_command("seal_ledger", export=tmp_path)
    assert "Sealed 0 postings.\nHead appended to" in capsys.readouterr().out
    assert len(list(tmp_path.glob("seals-*.jsonl"))) == 1


def test_the_command_says_when_there_is_no_head(db, tmp_path, capsys):
    call_command("seal_ledger", f"--export={tmp_path}")
    assert "no head to export" in capsys.readouterr().out
