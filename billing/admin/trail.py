"""The trail of staff acts: which pages write to the audit log, and how.

Every page of every `RoomAdmin` is wrapped in `audited` (by `RoomAdmin.urls`, so that a new page cannot forget it):
what is sent to it runs in one transaction together with the rows of the log that say what it did. Pages that must not
run in a transaction, because they speak to others (a gateway, a mail server) or have their own, say so with `@apart`.
Where a page's code notes nothing, the wrapper notes that it was sent.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from billing.accounts import audit
from billing.accounts.models import User
from billing.tracing import requests

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
MAX_ROWS = 100

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(slots=True)
class Trail:
    """What is known of one request: how rows were before it, and whether it has been accounted for."""

    request_id: str = field(default_factory=requests.current_id)
    before: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    noted: set[tuple[str, str]] = field(default_factory=set)
    is_settled: bool = False


def apart(view: View) -> View:
    """Mark an act page or action that must not run in a transaction; it keeps act and audit together by itself."""
    view.apart = True  # type: ignore[attr-defined]
    return view


def trail_of(request: HttpRequest) -> Trail:
    """The request's trail."""
    if not hasattr(request, "florin_trail"):
        request.florin_trail = Trail()  # type: ignore[attr-defined]
    trail: Trail = request.florin_trail  # type: ignore[attr-defined]
    return trail


def remember(request: HttpRequest, row: Model, snapshot: dict[str, Any]) -> None:
    """Keep how a row is before the request changes it; the first time counts."""
    trail_of(request).before.setdefault(_key(row), snapshot)


def remembered(request: HttpRequest, row: Model) -> dict[str, Any] | None:
    """How the row was, if that is known."""
    return trail_of(request).before.get(_key(row))


def is_noted(request: HttpRequest, row: Model) -> bool:
    """Whether the request has said what it did to the row."""
    return _key(row) in trail_of(request).noted


def note(
    request: HttpRequest,
    act: str,
    row: Model | None,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    account_id: int | None = None,
) -> None:
    """Write a row of the audit log for this request."""
    trail = trail_of(request)
    assert isinstance(request.user, User)  # noqa: S101  admin pages let nobody else through
    audit.write(
        user=request.user,
        act=act,
        row=row,
        before=before,
        after=after,
        reason=reason or request.POST.get("_reason", "").strip(),
        account_id=account_id,
        request_id=trail.request_id,
        now=timezone.now(),
    )
    trail.is_settled = True
    if row is not None:
        trail.noted.add(_key(row))


def settle(request: HttpRequest) -> None:
    """Say that the request did nothing worth a row: it was refused, or changed nothing."""
    trail_of(request).is_settled = True


def audited(view: Callable[..., HttpResponseBase], owner: Any, name: str) -> Callable[..., HttpResponseBase]:
    """Wrap a page of `owner` (a ModelAdmin, or None), so that what is sent to it is in the log."""

    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method in SAFE:
            return view(request, *args, **kwargs)
        action = str(request.POST.get("action", ""))
        marked = getattr(view, "apart", False) or getattr(getattr(owner, action, None), "apart", False)
        with nullcontext() if marked else transaction.atomic():
            response = view(request, *args, **kwargs)
            # Pages answer what they did with a redirect, and show their form again when it was refused.
            if 300 <= response.status_code < 400 and not trail_of(request).is_settled:
                _note_sent(request, owner, action or name, args, kwargs)
        return response

    page.audited = True  # type: ignore[attr-defined]
    return page


def _note_sent(request: HttpRequest, owner: Any, act: str, args: Any, kwargs: Any) -> None:
    """The last resort: that the page was sent, by whom, and about which rows."""
    if not (isinstance(request.user, User) and request.user.is_active and request.user.is_staff):
        return
    rows = request.POST.getlist(ACTION_CHECKBOX_NAME)[:MAX_ROWS]
    about = [str(value) for value in (*args, *kwargs.values())]
    audit.write(
        user=request.user,
        act=act,
        model=str(owner.opts.model_name) if owner else "",
        row_id=(about or rows or [""])[0][:60],
        after={"rows": rows} if rows else {},
        reason=request.POST.get("_reason", "").strip(),
        request_id=trail_of(request).request_id,
        now=timezone.now(),
    )


def _key(row: Model) -> tuple[str, str]:
    return str(row._meta.model_name), str(row.pk)
