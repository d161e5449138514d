"""Ids that leave the database count nothing: enumerated over tables, the API's schema and the site's addresses."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.converters import IntConverter
from hypothesis import given
from hypothesis import strategies as st

from billing.accounts import ids
from billing.ledger.pool_store import _draw_ids
from billing.migrations import _ids


def _rows(sql: str, *params: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def test_the_key_of_every_table_but_those_named_is_no_counter(db: None) -> None:
    tables = {model._meta.db_table for model in apps.get_app_config("billing").get_models(include_auto_created=True)}
    found = _rows(
        "SELECT table_name, is_identity, column_default FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND column_name = 'id' AND table_name = ANY(%s)",
        sorted(tables),
    )
    counters = {
        table for table, is_identity, default in found if is_identity == "YES" or "florin_moment" not in default
    }
    assert len(found) >= 70
    assert counters == set(_ids.COUNTED)
    assert not {model._meta.db_table for model in apps.get_models() if model._meta.model_name in ids.KINDS} & counters


def test_keys_sort_by_age_and_show_no_count(db: None) -> None:
    keys = [key for (key,) in _rows("SELECT florin_moment() # nextval('florin_id') FROM generate_series(1, 2000)")]
    moments = [key >> 12 for key in keys]
    assert moments == sorted(moments)
    # A counter's last bits would all be as far apart as those of their neighbours.
    assert len({(after - before) % 4096 for before, after in pairwise(keys)}) > 1000


def test_keys_of_one_moment_differ_by_the_sequence_alone(db: None) -> None:
    of_one = "(SELECT florin_moment() AS moment OFFSET 0) AS at, generate_series(1, 4096)"
    keys = _rows(f"SELECT moment # nextval('florin_id'), moment FROM {of_one}")
    assert len({key for key, _ in keys}) == 4096
    # The control: without the sequence they would be one.
    assert len({moment for _, moment in keys}) == 1


@pytest.mark.parametrize("count", [1, 3, 1000, 1001, 10_000])
def test_the_ledger_draws_enough_keys_for_a_batch(db: None, count: int) -> None:
    sql, params = _draw_ids(count)
    keys = [key for (key,) in _rows(sql, *params)]
    assert len(set(keys)) == len(keys) >= count


@given(st.integers(0, ids.MAX_PK), st.integers(0, ids.MAX_PK))
def test_ids_of_a_kind_sort_as_their_keys_and_are_read_back(one: int, other: int) -> None:
    first, second = ids.encode(ids.INVOICE, one), ids.encode(ids.INVOICE, other)
    assert (first < second) == (one < other)
    assert [ids.decode(ids.INVOICE, text) for text in (first, second)] == [one, other]
    assert ids.find(ids.GRANT, first) is None


@pytest.mark.parametrize(
    "text",
    ["", "ivc_", "ivc_5", "ivc_00000000000005", "ivc_000000000000V", "ivc_8000000000000", "0000000000005",
     "ivc_\N{FULLWIDTH DIGIT ONE}000000000000", "ivc_0000000000005\n", "ivc_000000000000w", "grt_0000000000005"],
)  # fmt: skip
def test_each_row_has_one_id_only(text: str) -> None:
    with pytest.raises(ids.InvalidId):
        ids.decode(ids.INVOICE, text)


def _routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, dict[str, object]]]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, route)
        else:
            yield route, dict(getattr(pattern.pattern, "converters", {}))


def test_no_address_outside_the_admin_takes_a_number() -> None:
    routes = {route: parts for route, parts in _routes(get_resolver().url_patterns) if not route.startswith("admin/")}
    assert sum(route.startswith("a/<") for route in routes) > 40
    assert {
        route for route, parts in routes.items() if any(isinstance(each, IntConverter) for each in parts.values())
    } == set()
