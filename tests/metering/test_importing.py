import io

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from billing.accounts import clocks
from billing.ledger import pools
from billing.ledger.models import Posting
from billing.management.commands import import_usage
from billing.metering import importing, replay
from billing.metering.models import ImportRun, RejectedEvent, UsageEvent
from billing.metering.tables import Mapping, MeterColumn
from tests.factories import make_account, make_meter
from tests.metering.makers import (
    DAY,
    NOW,
    START,
    all_rows,
    assert_proven,
    available_in,
    event,
    in_threads,
    send,
    spent_by,
)

OPTIONS = ["--time-column", "Time", "--meter", "tokens=Tokens"]
AT = "2026-03-01T10:00:00Z"


@pytest.fixture
def usage(tmp_path):
    """Writes a file of so many rows; `changes` are other lines by row number."""

    def write(rows=5, changes=None, name="usage.csv"):
        lines = [f"r{n},{AT},{n},acme" for n in range(1, rows + 1)]
        for number, line in (changes or {}).items():
            lines[number - 1] = line
        path = tmp_path / name
        path.write_text("\n".join(["Id,Time,Tokens,Who", *lines]) + "\n")
        return path

    return write


def run(path, *options, expect=None):
    """Run the command with the usual columns; its exit code, if it is not 0."""
    arguments = [path, *OPTIONS, *options] if "--account-column" in options else [
        path, "--account", "acme", *OPTIONS, *options,
    ]  # fmt: skip
    if expect is None:
        call_command("import_usage", *arguments)
        return
    with pytest.raises(SystemExit) as ended:
        call_command("import_usage", *arguments)
    assert ended.value.code == expect


def refused(path, *options, code=1):
    """Run it in vain; what it says. Nothing may be written."""
    before = all_rows()
    with pytest.raises(CommandError) as error:
        call_command("import_usage", path, *options)
    assert error.value.returncode == code
    assert all_rows() == before
    return str(error.value)


def test_a_file_is_imported_once(acme, priced, usage, capsys):
    path = usage(5)
    run(path, "--batch-size", "2")
    assert capsys.readouterr().out == "5 rows: 5 events accepted, 0 duplicates, 0 conflicts, 0 rejected.\n"
    assert available_in(acme) == 985
    before = all_rows()
    run(path, "--batch-size", "3")
    assert all_rows() == before
    assert_proven()


def test_a_row_that_is_rejected_is_kept_told_of_and_replayed(acme, priced, usage, capsys):
    path = usage(4, {2: f"r2,{AT},many,acme", 4: f"r4,{AT},4,later-org"})
    run(path, "--account-column", "Who", expect=3)
    said = capsys.readouterr().out
    assert "4 rows: 2 events accepted, 0 duplicates, 0 conflicts, 2 rejected." in said
    assert "  row 2: invalid_quantity: A quantity is" in said
    assert "  row 4: unknown_account: There is no account 'later-org'." in said
    assert "manage.py replay_rejected" in said
    assert set(RejectedEvent.objects.values_list("door", flat=True)) == {"import"}
    make_account("later-org", now=START)
    call_command("replay_rejected", "--code", "unknown_account")
    assert UsageEvent.objects.count() == 3


def test_only_the_first_reasons_are_told(acme, priced, usage, capsys):
    run(usage(9, {n: f"r{n},{AT},x,acme" for n in range(2, 10)}), "--batch-size", "3", expect=3)
    assert capsys.readouterr().out.count("invalid_quantity") == importing.MAX_REASONS


def test_rows_without_an_id_are_rejected_for_each_of_their_meters(acme, priced, usage, capsys):
    meter = make_meter("images", now=START)
    path = usage(3, {2: f",{AT},2,acme", 3: f",{AT},3,acme"})
    run(path, "--id-column", "Id", "--meter", f"{meter.key}=Tokens*10", expect=3)
    # No rate for images: only the named row's tokens count, and no row's are taken for another's.
    assert capsys.readouterr().out.startswith("3 rows: 1 events accepted, 0 duplicates, 0 conflicts, 5 rejected.")
    assert sorted(RejectedEvent.objects.values_list("event_id", "code")) == [
        *[("", "invalid_field")] * 4, ("r1:images", "no_rate"),
    ]  # fmt: skip
    run(usage(2, {2: f",{AT},2,acme"}, name="one.csv"), "--id-column", "Id", expect=3)
    assert available_in(acme) == 998


@pytest.mark.parametrize(
    ("stated", "zone", "hour"),
    [
        ("2026-03-01 10:00", "UTC", 10), ("2026-03-01 10:00", "Europe/Berlin", 9), ("20260301T1000", "UTC", 10),
        ("2026-03-01 10:00+02:00", None, 8), ("2026-03-01 10:00:00.1234567", "UTC", 10),
    ],
)  # fmt: skip
def test_times_may_be_written_in_any_of_isos_forms(acme, priced, usage, stated, zone, hour):
    run(usage(1, {1: f"r1,{stated},1,acme"}), *(["--time-zone", zone] if zone else []))
    assert UsageEvent.objects.get().occurred_at.replace(microsecond=0) == START.replace(2026, 3, 1, hour)


def test_an_account_on_a_test_clock_is_judged_by_its_own_time(acme, priced, usage, capsys, monkeypatch):
    at = NOW + 400 * DAY
    clocked = make_account("clocked", now=NOW)
    clocks.open_clock(account_id=clocked.pk, starts_at=at, now=NOW)
    monkeypatch.setattr(clocks, "_known_none_until", 0.0)
    path = usage(3, {2: f"r2,{at.isoformat()},5,clocked", 3: f"r3,{(at + DAY).isoformat()},5,clocked"})
    run(path, "--account-column", "Who", expect=3)
    assert "row 3: time_ahead" in capsys.readouterr().out
    taken = UsageEvent.objects.get(account=clocked)
    assert (taken.event_id[-2:], taken.received_at, taken.late) == (":2", at, False)
    # So is what was rejected and is sent again later.
    send(event(1, account="clocked", pool="team", at=at), now=at)
    team = pools.open_pool(account=clocked, key="team", name="Team", now=at)
    assert replay.replay(code="unknown_pool", limit=1, now=NOW).accepted == 1
    assert Posting.objects.get(pool=team).posted_at == at


def test_a_row_that_cannot_be_read_is_rejected_and_stops_no_other(acme, priced, usage):
    run(usage(3, {2: "r2,torn off"}), expect=3)
    assert UsageEvent.objects.count() == 2
    assert RejectedEvent.objects.get().body == '["r2", "torn off"]'


def test_ids_of_the_file_tell_duplicates_and_conflicts(acme, priced, usage, capsys):
    send(event(1, id="r1", at=None, occurred_at=AT, properties={}), event(7, id="r2"))
    run(usage(3), "--id-column", "Id", expect=3)
    said = capsys.readouterr().out
    assert "3 rows: 1 events accepted, 1 duplicates, 1 conflicts, 0 rejected." in said
    assert "  row 2: id_conflict:" in said


def test_a_file_that_has_grown_counts_only_its_new_rows_under_its_prefix(acme, priced, usage, capsys):
    run(usage(3), "--id-prefix", "march")
    run(usage(5), "--id-prefix", "march")
    assert "5 rows: 2 events accepted, 3 duplicates" in capsys.readouterr().out
    assert available_in(acme) == 985


def test_an_import_that_broke_off_goes_on_where_it_was(acme, priced, usage, capsys, monkeypatch):
    path, calls = usage(10), []
    take = importing.take_events_in_their_time

    def break_off(**options):
        calls.append(options)
        if len(calls) == 3:
            raise DatabaseError("the server is gone")
        return take(**options)

    monkeypatch.setattr(importing, "take_events_in_their_time", break_off)
    with pytest.raises(CommandError, match=r"the server is gone\. Run the same command again"):
        call_command("import_usage", path, "--account", "acme", *OPTIONS, "--batch-size", "2")
    assert ImportRun.objects.get().rows_done == UsageEvent.objects.count() == 4
    run(path, "--batch-size", "100")
    assert capsys.readouterr().out == (
        "Went on after row 4.\n10 rows: 10 events accepted, 0 duplicates, 0 conflicts, 0 rejected.\n"
    )
    assert available_in(acme) == 945


def test_stopping_it_says_how_to_go_on(acme, priced, usage, capsys, monkeypatch):
    def stop(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr(importing, "take_events_in_their_time", stop)
    run(usage(3), expect=130)
    assert "Run the same command again to go on." in capsys.readouterr().err


def test_a_dry_run_checks_every_row_and_writes_nothing(acme, priced, usage, capsys):
    path = usage(5, {2: f"r2,{AT},x,acme"})
    before = all_rows()
    run(path, "--dry-run", "--batch-size", "2", expect=3)
    said = capsys.readouterr().out
    assert "5 rows: 4 events accepted, 0 duplicates, 0 conflicts, 1 rejected." in said
    assert said.endswith("A dry run: nothing was written.\n")
    assert all_rows() == before


def test_old_usage_is_welcome(acme, priced, tmp_path):
    path = tmp_path / "old.jsonl"
    path.write_text('{"id": "a", "account": "acme", "meter": "tokens", "occurred_at": "1999-12-31T23:59:59Z"}\n')
    call_command("import_usage", path)
    assert UsageEvent.objects.get().late


def test_what_cannot_work_is_said_before_the_first_row(acme, priced, usage, tmp_path):
    path = usage(2)
    whose = ["--account", "acme"]
    assert "No such file" in refused(tmp_path / "none.csv", *whose, *OPTIONS)
    assert "no column 'Units'" in refused(path, *whose, "--time-column", "Time", "--meter", "tokens=Units")
    assert "no active meter 'images'" in refused(path, *whose, "--time-column", "Time", "--meter", "images=Tokens")
    assert "no account 'nobody'" in refused(path, "--account", "nobody", *OPTIONS)
    make_meter("images", archived_at=NOW)
    assert "no active meter 'images'" in refused(path, *whose, "--time-column", "Time", "--meter", "images=Tokens")


def test_options_that_do_not_go_together_are_wrong_usage(acme, priced, usage, tmp_path):
    path = usage(2)
    whose, when, what = ["--account", "acme"], ["--time-column", "Time"], ["--meter", "tokens=Tokens"]
    assert "Whose usage" in refused(path, *when, *what, code=2)
    assert "When did it" in refused(path, *whose, *what, code=2)
    assert "Which columns" in refused(path, *whose, *when, code=2)
    assert "--batch-size" in refused(path, *whose, *when, *what, "--batch-size", "0", code=2)
    assert "--delimiter" in refused(path, *whose, *when, *what, "--delimiter", ";;", code=2)
    assert "--format" in refused(tmp_path / "usage.txt", *whose, *when, *what, code=2)
    for option in (["--meter", "tokens"], ["--time-zone", "Mars/Base"], ["--property", "model"]):
        with pytest.raises(CommandError, match="argument"):
            call_command("import_usage", path, *whose, *when, *what, *option)


def test_the_help_tells_the_exit_codes(capsys):
    with pytest.raises(SystemExit):
        call_command("import_usage", "--help")
    assert "Exit codes: 0 all rows counted" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "factor"), [("k=Col", "1"), ("k=Col*2", "2"), ("k=a*b*0.1", "0.1"), ("k=a*", "1")])
def test_a_meter_option_may_have_a_factor(text, factor):
    assert str(import_usage._meter(text).factor) == factor


@pytest.mark.django_db(transaction=True)
def test_two_imports_of_one_file_at_once_count_each_row_once(acme, priced, usage):
    path = usage(60)
    mapping = Mapping("csv", (MeterColumn("tokens", "Tokens"),), "acme", time_column="Time")
    results = in_threads(3, lambda _: importing.import_file(path=path, mapping=mapping, batch_size=2, now=lambda: NOW))
    assert any(isinstance(each, importing.Imported) for each in results)
    assert all(isinstance(each, importing.Imported | importing.ImportRunning) for each in results)
    assert UsageEvent.objects.count() == ImportRun.objects.get().accepted == 60
    assert spent_by(acme) == sum(range(61))
    assert_proven()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_one_line_on_a_terminal_and_plain_lines_elsewhere(monkeypatch):
    from billing.management import progress

    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    for stream in (Terminal(), io.StringIO()):
        bar = progress.ProgressBar(stream, total=1000, unit="rows", done=100)
        bar.show(500)
        bar.finish(1000)
        said = stream.getvalue()
        assert "500 of 1,000 rows (50 %), 20/s, 0:25 left" in said
        assert "1,000 of 1,000 rows (100 %)" in said
        assert ("\r" in said, said.count("\n")) == ((True, 1) if stream.isatty() else (False, 2))
    assert progress._duration(3_725) == "1:02:05"
