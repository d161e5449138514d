"""Lists: `?limit=` items and an opaque cursor to the next ones.

A cursor holds the sort key of the last item, so pages stay right and fast however long the list grows. It grants
nothing: each request applies its own tenancy and filters.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from billing.accounts.ids import MAX_PK
from billing.api.errors import Problem
from billing.api.fields import Instant, Strict, Text, Whole, write_instant

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

M = TypeVar("M", bound=Model)
R = TypeVar("R")


class PageQuery(Strict):
    """The query parameters that every list takes."""

    limit = Whole(min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT, help_text="How many items at most.")
    cursor = Text(
        max_length=1000, required=False, help_text="`next_cursor` of the answer before; leave the filters as they were."
    )


def page_of(item: type[serializers.Serializer[Any]], name: str) -> serializers.Serializer[Any]:
    """The schema of a page of items."""
    return inline_serializer(
        name=f"{name}Page",
        fields={
            "items": item(many=True),
            "next_cursor": serializers.CharField(allow_null=True, help_text="null: this was the last page."),
        },
    )


def newest_first(rows: QuerySet[M], query: dict[str, Any], *, key: str = "pk") -> tuple[list[M], str | None]:
    """One page in descending order of a whole-number column, and the cursor to the next page."""
    if "cursor" in query:
        (last,) = read_cursor(query["cursor"], [int])
        rows = rows.filter(**{f"{key}__lt": last})
    return cut(list(rows.order_by(f"-{key}")[: query["limit"] + 1]), query["limit"], lambda row: [getattr(row, key)])


def cut(rows: list[R], limit: int, key: Callable[[R], list[Any]]) -> tuple[list[R], str | None]:
    """Of one row more than the limit, the page, and the cursor if the row shows that there is more."""
    if len(rows) <= limit:
        return rows, None
    page = rows[:limit]
    return page, write_cursor(key(page[-1]))


def write_cursor(values: Sequence[Any]) -> str:
    """Pack a sort key."""
    plain = [write_instant(value) if isinstance(value, datetime) else value for value in values]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).rstrip(b"=").decode()


def read_cursor(cursor: str, types: Sequence[type]) -> list[Any]:
    """Unpack a sort key of these types; raises Problem `invalid_cursor`."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        values = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        raise Problem("invalid_cursor") from None
    if not isinstance(values, list) or len(values) != len(types):
        raise Problem("invalid_cursor")
    return [_read_key(value, kind) for value, kind in zip(values, types, strict=True)]


def _read_key(value: object, kind: type) -> object:
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PK:
        return value
    if kind is str and isinstance(value, str) and value.isprintable():
        return value
    if kind is datetime and isinstance(value, str):
        try:
            return Instant().run_validation(value)
        except serializers.ValidationError:
            pass
    raise Problem("invalid_cursor")
