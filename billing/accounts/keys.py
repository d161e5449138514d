"""API keys: issue, authenticate, rotate, revoke.

A secret is `fl_<prefix>_<random>`: 12 characters that find the row, then 256 random bits. It is shown once; the row
keeps its SHA-256 digest. No process caches keys, so a revocation holds from the next request on, everywhere.
"""

import hashlib
import re
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q

from billing.accounts.models import Account, ApiKey, Scope, User
from billing.sql import prepared

LAST_USED_SECONDS = 60
MAX_OVERLAP_SECONDS = 30 * 86_400

_SECRET = re.compile(r"fl_([0-9a-f]{12})_[A-Za-z0-9_-]{43}\Z", re.ASCII)


class InvalidKey(Exception):
    """The secret is malformed, unknown, expired or revoked; which of them is nobody's business."""


class KeyClosed(Exception):
    """The key to rotate has been revoked or has expired."""


class UnknownScope(ValueError):
    """A scope that does not exist, or none at all."""


def issue(
    *,
    name: str,
    scopes: Collection[str],
    account: Account | None = None,
    expires_at: datetime | None = None,
    created_by: User | None = None,
    is_pending: bool = False,
    now: datetime,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which cannot be had again.

    Without `account` the key is platform-wide. One that `is_pending` is refused until `open_pending`. Raises
    UnknownScope.
    """
    return _create(
        ApiKey(
            name=name,
            account=account,
            scopes=_checked(scopes),
            expires_at=expires_at,
            created_by=created_by,
            created_at=now,
            is_pending=is_pending,
        )
    )


def authenticate(*, secret: str, now: datetime) -> ApiKey:
    """Return the key, its account loaded, or raise InvalidKey.

    One query; at most once a minute a second one notes the use.
    """
    match = _SECRET.match(secret)
    if match is None:
        raise InvalidKey
    key = _find(match[1])
    if key is None:
        raise InvalidKey
    if not secrets.compare_digest(bytes(key.digest), _digest(secret)) or not _is_open(key, now):
        raise InvalidKey
    stale = now - timedelta(seconds=LAST_USED_SECONDS)
    if key.last_used_at is None or key.last_used_at <= stale:
        # Conditional, so that of many requests at once one writes; the others find nothing left to update.
        unused = Q(last_used_at=None) | Q(last_used_at__lte=stale)
        ApiKey.objects.filter(unused, pk=key.pk).update(last_used_at=now)
    return key


# Plain SQL, for this runs before every request: building the ORM's query took longer than asking it.
_KEY_FIELDS = [field.attname for field in ApiKey._meta.concrete_fields]
_ACCOUNT_FIELDS = [field.attname for field in Account._meta.concrete_fields]
_FIND = (
    f"SELECT {', '.join(f'k.{name}' for name in _KEY_FIELDS)}, {', '.join(f'a.{name}' for name in _ACCOUNT_FIELDS)} "  # noqa: S608 (our own columns)
    "FROM billing_apikey k LEFT JOIN billing_account a ON a.id = k.account_id WHERE k.prefix = %s"
)


def _find(prefix: str) -> ApiKey | None:
    """The key of a prefix with its account, in one query."""
    rows = prepared.fetch(_FIND, [prefix])
    if not rows:
        return None
    row = rows[0]
    key = ApiKey.from_db(connection.alias, _KEY_FIELDS, row[: len(_KEY_FIELDS)])
    if key.account_id is not None:
        key.account = Account.from_db(connection.alias, _ACCOUNT_FIELDS, row[len(_KEY_FIELDS) :])
    return key


def rotate(
    *, key: ApiKey, overlap_seconds: int, rotated_by: User | None = None, is_pending: bool = False, now: datetime
) -> tuple[ApiKey, str]:
    """Make a successor with the same name, scopes, account and lifetime; the old key works `overlap_seconds` more.
    Where the successor `is_pending`, that time begins with `open_pending`.

    The successor belongs to `rotated_by`, who alone has seen its secret, or else to whom the old one did. An old key
    that would expire sooner anyway still does. Locks the old key's row. Raises KeyClosed, and ValueError for an
    overlap below 0 or above 30 days.
    """
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        raise ValueError(f"an overlap is 0 to {MAX_OVERLAP_SECONDS} seconds")
    with transaction.atomic():
        old = ApiKey.objects.select_for_update().get(pk=key.pk)
        if not _is_open(old, now):
            raise KeyClosed
        lifetime = old.expires_at - old.created_at if old.expires_at else None
        if not is_pending:
            _end_after(old, overlap_seconds, now=now)
        return _create(
            ApiKey(
                name=old.name,
                account_id=old.account_id,
                scopes=old.scopes,
                expires_at=now + lifetime if lifetime else None,
                created_by_id=rotated_by.pk if rotated_by else old.created_by_id,
                created_at=now,
                rotated_from=old,
                lineage=old.lineage,
                is_pending=is_pending,
            )
        )


def open_pending(*, key_id: int, overlap_seconds: int, now: datetime) -> ApiKey:
    """Let a pending key work from the next request on; the key that it follows, if there is one, works
    `overlap_seconds` more. Locks both rows. Raises KeyClosed when it was revoked or has expired meanwhile."""
    with transaction.atomic():
        followed_id = ApiKey.objects.values_list("rotated_from_id", flat=True).get(pk=key_id)
        ids = [pk for pk in (key_id, followed_id) if pk is not None]
        rows = {row.pk: row for row in ApiKey.objects.select_for_update().filter(pk__in=ids).order_by("pk")}
        key = rows[key_id]
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
            raise KeyClosed
        key.is_pending = False
        key.save(update_fields=["is_pending"])
        if followed_id is not None and _is_open(rows[followed_id], now):
            _end_after(rows[followed_id], overlap_seconds, now=now)
        return key


def _end_after(key: ApiKey, seconds: int, *, now: datetime) -> None:
    """Let a key work so much longer, unless it expires sooner anyway. The caller holds its row."""
    ends_at = now + timedelta(seconds=seconds)
    key.expires_at = min(key.expires_at or ends_at, ends_at)
    key.save(update_fields=["expires_at"])


def revoke(*, key: ApiKey, now: datetime) -> None:
    """Refuse the key from the next request on. Revoking again keeps the first time."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=now)


def _create(key: ApiKey) -> tuple[ApiKey, str]:
    key.prefix = secrets.token_hex(6)
    secret = f"fl_{key.prefix}_{secrets.token_urlsafe(32)}"
    key.digest = _digest(secret)
    key.save(force_insert=True)
    return key, secret


def _checked(scopes: Collection[str]) -> list[str]:
    unknown = set(scopes) - set(Scope.values)
    if unknown or not scopes:
        raise UnknownScope(", ".join(sorted(unknown)) or "a key needs at least one scope")
    return [scope for scope in Scope.values if scope in scopes]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _is_open(key: ApiKey, now: datetime) -> bool:
    return key.revoked_at is None and not key.is_pending and (key.expires_at is None or now < key.expires_at)
