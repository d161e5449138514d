"""Rows of a file as events; what is wrong with a file as a whole."""

from decimal import Decimal

import pytest

from billing.metering.tables import Mapping, MeterColumn, UnusableFile, events_of, open_source

TOKENS = MeterColumn("tokens", "Tokens")
PLAIN = Mapping("csv", meters=(TOKENS,), account="acme", time_column="Time", zone="UTC", id_prefix="x")


@pytest.fixture
def events_in(tmp_path):
    def read(content, mapping=PLAIN):
        path = tmp_path / "usage"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        source = open_source(path, mapping)
        with source.rows() as rows:
            return [event for number, row in enumerate(rows, 1) for event in events_of(row, number, source)]

    return read


def lines(**fields):
    return Mapping("jsonl", **{"meters": (TOKENS,), "account": "acme", "time_column": "Time", **fields})


def test_a_row_becomes_an_event_with_an_id_of_its_number(events_in):
    assert events_in("Time,Tokens\n2026-03-01 10:00:00,5\n2026-03-01 11:00:00,6\n") == [
        {"id": "import:x:1", "account": "acme", "meter": "tokens", "quantity": "5",
         "occurred_at": "2026-03-01T10:00:00+00:00", "properties": {}},
        {"id": "import:x:2", "account": "acme", "meter": "tokens", "quantity": "6",
         "occurred_at": "2026-03-01T11:00:00+00:00", "properties": {}},
    ]  # fmt: skip


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_a_byte_order_mark_and_either_line_end_are_read(events_in, bom, end, last):
    content = bom + b"Time,Tokens" + end + b"2026-03-01 10:00:00.1234567,5" + (end if last else b"")
    (event,) = events_in(content)
    assert (event["quantity"], event["occurred_at"]) == ("5", "2026-03-01T10:00:00.123456+00:00")


def test_several_meters_of_a_row_are_events_of_their_own_and_empty_cells_none(events_in):
    mapping = Mapping("csv", meters=(TOKENS, MeterColumn("images", "Images", Decimal("0.001"))), account="acme",
                      time_column="Time", zone="UTC", id_column="Id")  # fmt: skip
    events = events_in("Id,Time,Tokens,Images\na,2026-03-01 10:00:00,5,7\nb,2026-03-01 10:00:00,,8\n", mapping)
    assert [(event["id"], event["meter"], event["quantity"]) for event in events] == [
        ("a:tokens", "tokens", "5"), ("a:images", "images", Decimal("0.007")), ("b:images", "images", Decimal("0.008")),
    ]  # fmt: skip


def test_columns_may_name_the_account_the_pool_the_member_and_properties(events_in):
    mapping = Mapping("csv", meters=(TOKENS,), account_column="Who", time_column="Time", zone="UTC", pool_column="Pool",
                      member_column="Member", properties=(("model", "Model"), ("note", "Note")))  # fmt: skip
    (event,) = events_in(
        'Who,Time,Tokens,Pool,Member,Model,Note\norg-1,2026-03-01 10:00:00,5,,mem_1,"gpt, 4",\n', mapping
    )
    assert {name: event[name] for name in ("account", "member", "properties")} == {
        "account": "org-1", "member": "mem_1", "properties": {"model": "gpt, 4"},
    }  # fmt: skip
    assert "pool" not in event


@pytest.mark.parametrize(
    ("stated", "zone", "expected"),
    [
        ("2026-07-01 10:00:00", "Europe/Berlin", "2026-07-01T08:00:00+00:00"),
        ("2026-07-01T10:00:00+05:00", "Europe/Berlin", "2026-07-01T05:00:00+00:00"),
        ("2026-07-01T10:00:00Z", "", "2026-07-01T10:00:00+00:00"),
        ("yesterday", "Europe/Berlin", "yesterday"),
        ("0001-01-01 00:00:00", "Asia/Tokyo", "0001-01-01 00:00:00"),
    ],
)
def test_times_without_an_offset_are_in_the_given_zone(events_in, stated, zone, expected):
    mapping = Mapping("csv", meters=(TOKENS,), account="acme", time_column="Time", zone=zone)
    (event,) = events_in(f"Time,Tokens\n{stated},5\n", mapping) if zone or "Z" in stated else ()
    assert event["occurred_at"] == expected


def test_json_lines_are_mapped_too(events_in):
    content = '{"Time": "2026-03-01T10:00:00Z", "Tokens": 1.50, "who": 7, "n": 3}\n\n'
    mapping = lines(account="", account_column="who", id_column="n", properties=(("model", "m"),))
    content = content.replace('"n": 3', '"n": 3, "m": null')
    assert events_in(content, mapping) == [
        {"id": "3", "account": "7", "meter": "tokens", "quantity": Decimal("1.50"),
         "occurred_at": "2026-03-01T10:00:00+00:00", "properties": {}}
    ]  # fmt: skip


def test_without_meters_rows_are_events_as_they_are(events_in):
    assert events_in('{"id": "a", "specversion": "1.0"}\n{"id": "b"}', Mapping("jsonl")) == [
        {"id": "a", "specversion": "1.0"}, {"id": "b"},
    ]  # fmt: skip
    assert events_in("id,account,pool\na,acme,\n", Mapping("csv")) == [{"id": "a", "account": "acme"}]


def test_a_row_that_cannot_be_read_stands_as_it_is_and_stops_no_other(events_in):
    good = '{"id": "a"}'
    assert events_in(f"{good}\n{{oops\n[1]\n{good}\n", Mapping("jsonl")) == [{"id": "a"}, "{oops\n", [1], {"id": "a"}]
    events = events_in("Time,Tokens\n2026-03-01 10:00:00,5\n2026-03-01 10:0\n2026-03-01 10:00:00,5,6\n")
    assert events[1:] == [["2026-03-01 10:0"], ["2026-03-01 10:00:00", "5", "6"]]


def test_a_quantity_that_is_no_number_is_left_for_ingest_to_refuse(events_in):
    mapping = Mapping("csv", meters=(MeterColumn("tokens", "Tokens", Decimal(2)),), account="acme", time_column="Time",
                      zone="UTC")  # fmt: skip
    events = events_in("Time,Tokens\nx,many\nx,1e999\nx,NaN\nx, 4 \n", mapping)
    assert [str(event["quantity"]) for event in events] == ["many", "1e999", "NaN", "8.000000"]


def test_the_digest_knows_the_content_and_the_mapping(tmp_path):
    path = tmp_path / "a.csv"
    digests = set()
    for content in ("Time,Tokens\n2026-03-01 10:00:00,5\n", "Time,Tokens\n2026-03-01 10:00:00,6\n"):
        path.write_text(content)
        for zone in ("UTC", "Asia/Tokyo"):
            source = open_source(path, Mapping("csv", (TOKENS,), "acme", time_column="Time", zone=zone))
            digests.add(source.digest)
            assert source.rows_total == 1
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("content", "mapping", "message"),
    [
        ("", PLAIN, "no rows"),
        ("Time,Tokens\n", PLAIN, "no rows"),
        ("Time,Other\nx,5\n", PLAIN, "no column 'Tokens'.*Time, Other"),
        ("Time,Tokens\nx\n", PLAIN, "first row cannot be read"),
        (b"Time,Tokens\n2026-03-01 10:00:00,\xff\n", PLAIN, "not UTF-8"),
        (b"Time,Tokens\n2026-03-01 10:00:00,\xc3", PLAIN, "not UTF-8"),
        ("Time,Tokens\n2026-03-01 10:00:00,5\n", Mapping("csv", (TOKENS,), "acme", time_column="Time"), "no offset"),
        ("[]\n", Mapping("jsonl"), "first row cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(events_in, content, mapping, message):
    with pytest.raises(UnusableFile, match=message):
        events_in(content, mapping)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(UnusableFile, match="No such file"):
        open_source(tmp_path / "nothing.csv", PLAIN)
