"""The inbox: what a member finds told in the portal, at once when it was written, and what of it they have read.

It holds the notifications of the account whose kinds concern the member's role and that the member has not muted.
What is older than READ_AFTER, or from before the member came, counts as read.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db.models import (
    BigIntegerField,
    CharField,
    Count,
    DateTimeField,
    Exists,
    ExpressionWrapper,
    Field,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce, Greatest
from django.utils.translation import gettext as _

from billing.accounts.models import Member, Role
from billing.notifications.kinds import KINDS, MANAGERS, readable_by
from billing.notifications.messages import About, Message
from billing.notifications.models import Channel, Notification, NotificationPreference, NotificationRead

log = structlog.get_logger(__name__)

READ_AFTER = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Item:
    """A notification as its reader sees it."""

    id: int
    kind: str
    created_at: datetime
    is_read: bool
    message: Message


@dataclass(frozen=True, slots=True)
class Page:
    """Some items, newest first. `older` and `newer` are ids to go on from, None at the ends."""

    items: list[Item]
    older: int | None
    newer: int | None


def with_unread(members: QuerySet[Member], *, now: datetime) -> QuerySet[Member]:
    """The members, each with `unread`: how many notifications they have not read. Costs no query of its own."""
    rows = _unread_by(_Reader(OuterRef("account_id"), OuterRef("pk"), OuterRef("role"), OuterRef("created_at")), now)
    counted = rows.order_by().values("account_id").annotate(count=Count("pk")).values("count")
    return members.annotate(unread=Coalesce(Subquery(counted), 0))


def list_page(
    *, member: Member, now: datetime, only_unread: bool, size: int, before: int | None = None, after: int | None = None
) -> Page:
    """A page of the inbox by key set: items before an id, else after one, else the newest."""
    rows = _unread(member, now) if only_unread else _visible(member)
    if after is not None and before is None:
        nearest = list(rows.filter(pk__gt=after).order_by("pk")[: size + 1])
        shown = nearest[:size][::-1]
        newer = shown[0].pk if len(nearest) > size else None
        return Page(_items(shown, member, now), shown[-1].pk if shown else None, newer)
    found = list((rows.filter(pk__lt=before) if before is not None else rows)[: size + 1])
    shown = found[:size]
    older = shown[-1].pk if len(found) > size else None
    return Page(_items(shown, member, now), older, shown[0].pk if shown and before is not None else None)


def get_item(*, member: Member, notification_id: int, now: datetime) -> Item:
    """One of the member's items. Raises Notification.DoesNotExist for one that is not in their inbox."""
    return _items([_visible(member).get(pk=notification_id)], member, now)[0]


def mark_read(*, member: Member, notification_ids: Collection[int], now: datetime) -> int:
    """Note that the member has read these; ids that are not in their inbox are passed over. How many were unread."""
    unread = list(_unread(member, now).filter(pk__in=notification_ids).values_list("pk", flat=True))
    return _read(member, unread, now)


def mark_all_read(*, member: Member, now: datetime) -> int:
    """Note that the member has read all that is there now; how many were unread."""
    return _read(member, list(_unread(member, now).values_list("pk", flat=True)), now)


def _read(member: Member, ids: Collection[int], now: datetime) -> int:
    rows = [NotificationRead(notification_id=pk, member=member, read_at=now) for pk in ids]
    NotificationRead.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


@dataclass(frozen=True, slots=True)
class _Reader:
    """A member, as values or as columns of the query around."""

    account_id: int | OuterRef
    member_id: int | OuterRef
    role: str | OuterRef
    came_at: datetime | OuterRef


def _visible(member: Member) -> QuerySet[Notification]:
    return _visible_to(_reader(member)).order_by("-pk")


def _unread(member: Member, now: datetime) -> QuerySet[Notification]:
    return _unread_by(_reader(member), now).order_by("-pk")


def _reader(member: Member) -> _Reader:
    return _Reader(member.account_id, member.pk, member.role, member.created_at)


def _visible_to(reader: _Reader) -> QuerySet[Notification]:
    of_everybody = [kind.name for kind in readable_by(Role.VIEWER)]
    of_managers = [kind.name for kind in readable_by(Role.OWNER)]
    essential = [kind.name for kind in KINDS.values() if kind.is_essential]
    muted = NotificationPreference.objects.filter(
        member=OuterRef("reader"), kind=OuterRef("kind"), channel=Channel.INBOX, is_on=False
    )
    rows = Notification.objects.filter(account_id=reader.account_id, email="", superseded_at=None).annotate(
        reader=_as_column(reader.member_id, BigIntegerField()), reader_role=_as_column(reader.role, CharField())
    )
    return rows.filter(
        Q(kind__in=of_everybody) | Q(kind__in=of_managers, reader_role__in=MANAGERS),
        Q(kind__in=essential) | ~Exists(muted),
    )


def _unread_by(reader: _Reader, now: datetime) -> QuerySet[Notification]:
    read = NotificationRead.objects.filter(notification=OuterRef("pk"), member=OuterRef("reader"))
    since = Greatest(Value(now - READ_AFTER), _as_column(reader.came_at, DateTimeField()))
    return _visible_to(reader).filter(~Exists(read), created_at__gte=since)


def _as_column(value: object, field: Field) -> ExpressionWrapper:
    return ExpressionWrapper(value if isinstance(value, OuterRef) else Value(value), output_field=field)


def _items(rows: Collection[Notification], member: Member, now: datetime) -> list[Item]:
    read = set(
        NotificationRead.objects.filter(member=member, notification__in=[row.pk for row in rows]).values_list(
            "notification_id", flat=True
        )
    )
    since = max(now - READ_AFTER, member.created_at)
    return [
        Item(row.pk, row.kind, row.created_at, row.pk in read or row.created_at < since, _in_words(row, member))
        for row in rows
    ]


def _in_words(row: Notification, member: Member) -> Message:
    """The row's message; one that cannot be written must not take the page with it."""
    row.account = member.account
    try:
        return KINDS[row.kind].write(About(row))
    except Exception:
        log.exception("notification.unwritable", notification_id=row.pk)
        return Message(title=str(KINDS[row.kind].label), lead=_("The details cannot be shown."))
