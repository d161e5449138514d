"""What staff did: one row of `StaffAct` per act, written in the act's own transaction, never changed.

Promises: a row says who, what, to which row, what was before and after (only what differs) and why. Secrets (password
hashes, digests) are compared and never stored: the log says that they changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import BinaryField, Model

from billing.accounts.models import Account, StaffAct, User

NOT_SHOWN = "(not shown)"
_SECRETS = frozenset({"password", "digest", "secret", "token_digest"})
# How to get from a row to the account it is about, where it has none of its own.
_ROADS = ("pool", "invoice", "payment", "rule", "grant", "posting", "hold")

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class _Secret:
    """A value to compare and not to show."""

    value: object


def snapshot(row: Model) -> dict[str, Any]:
    """The row's columns, and the names of what it is joined with by many-to-many fields, to compare later.

    One query for each many-to-many field.
    """
    found: dict[str, Any] = {}
    for field in row._meta.concrete_fields:
        value = getattr(row, field.attname)
        hidden = field.name in _SECRETS or isinstance(field, BinaryField)
        found[field.attname] = _Secret(bytes(value) if isinstance(value, memoryview) else value) if hidden else value
    for many in row._meta.many_to_many:
        found[many.name] = sorted(str(each) for each in getattr(row, many.name).all())
    return found


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of two snapshots only what differs, as JSON."""
    names = {**before, **after}
    changed = [name for name in names if before.get(name, _ABSENT) != after.get(name, _ABSENT)]
    return (
        {name: _as_json(before[name]) for name in changed if name in before},
        {name: _as_json(after[name]) for name in changed if name in after},
    )


def write(
    *,
    user: User,
    act: str,
    row: Model | None = None,
    model: str = "",
    row_id: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
    account_id: int | None = None,
    request_id: str = "",
    client: str | None = None,
    now: datetime,
) -> StaffAct:
    """Write down an act, in the caller's transaction. Of `before` and `after`, the difference is kept.

    Without `account_id` it is the account that `row` is about. Texts too long for their column are cut.
    """
    was, became = differences(before or {}, after or {})
    return StaffAct.objects.create(
        user=user,
        account_id=account_id or (account_of(row) if row is not None else None),
        act=act[:40],
        model=model or (str(row._meta.model_name) if row is not None else ""),
        row_id=row_id or (str(row.pk)[:60] if row is not None else ""),
        label=_label(row) if row is not None else "",
        before=was,
        after=became,
        reason=reason[:300],
        request_id=request_id,
        client=client,
        acted_at=now,
    )


def account_of(row: Model) -> int | None:
    """The account that a row is about, if it is about one."""
    if isinstance(row, Account):
        return row.pk
    if hasattr(row, "account_id"):
        return row.account_id
    for road in _ROADS:
        if getattr(row, f"{road}_id", None) is not None:
            return account_of(getattr(row, road))
    return None


def _label(row: Model) -> str:
    """What the row is called. Reads the rows it points to first: one whose name mentions another's has only its key
    otherwise."""
    for field in row._meta.concrete_fields:
        if field.is_relation and getattr(row, field.attname) is not None:
            getattr(row, field.name)
    return _without_nul(str(row))[:200]


def _as_json(value: Any) -> Any:
    """The value as JSON keeps it: decimals and times as text, so that none is bent."""
    if isinstance(value, _Secret):
        return NOT_SHOWN
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _as_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_json(each) for each in value]
    return _without_nul(str(value))


def _without_nul(text: str) -> str:
    """PostgreSQL keeps no NUL."""
    return text.replace("\0", "")
