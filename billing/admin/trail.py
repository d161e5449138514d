"""The trail of staff acts: which pages write to the audit log, and how.

Every page of every `RoomAdmin` is wrapped in `audited` (by `RoomAdmin.urls`, so that a new page cannot forget it):
what is sent to it runs in one transaction together with the rows of the log that say what it did. Pages that must not
run in a transaction, because they speak to others (a gateway, a mail server) or have their own, say so with `@apart`.
Where a page's code notes nothing, the wrapper notes that it was sent. What is refused (for lack of a right, because
nothing of the kind is offered, or by a rule of the act) is in the log too, as `refused`, outside of the transaction
that was rolled back.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from allauth.account.adapter import get_adapter
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from billing.accounts import audit
from billing.accounts.models import User
from billing.tracing import requests

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
MAX_ROWS = 100
REFUSED = "refused"

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(slots=True)
class Trail:
    """What is known of one request: how rows were before it, and whether it has been accounted for."""

    request_id: str = field(default_factory=requests.current_id)
    before: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    noted: set[tuple[str, str]] = field(default_factory=set)
    is_settled: bool = False
    refusal: str = ""
    refused_row: Model | None = None


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
        client=client_of(request),
        now=timezone.now(),
    )
    trail.is_settled = True
    if row is not None:
        trail.noted.add(_key(row))


def settle(request: HttpRequest) -> None:
    """Say that the request did nothing worth a row: it was refused, or changed nothing."""
    trail_of(request).is_settled = True


def refuse(request: HttpRequest, why: str, *, row: Model | None = None) -> None:
    """Say that the request asked for something that a rule of the act refuses; the wrapper writes it down."""
    trail = trail_of(request)
    trail.is_settled, trail.refusal, trail.refused_row = True, why, row


def client_of(request: HttpRequest) -> str:
    """The address that the request came from, past the proxies that are trusted."""
    return str(get_adapter().get_client_ip(request))


def audited(view: Callable[..., HttpResponseBase], owner: Any, name: str) -> Callable[..., HttpResponseBase]:
    """Wrap a page of `owner` (a ModelAdmin, or None), so that what is sent to it is in the log."""

    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method in SAFE:
            return view(request, *args, **kwargs)
        action = str(request.POST.get("action", ""))
        marked = getattr(view, "apart", False) or getattr(getattr(owner, action, None), "apart", False)
        about = (*args, *kwargs.values())
        try:
            with nullcontext() if marked else transaction.atomic():
                response = view(request, *args, **kwargs)
                if name.endswith("_changelist") and _is_staff(request) and action not in owner.get_actions(request):
                    refuse(request, "no such action")
                # Pages answer what they did with a redirect, and show their form again when it was refused.
                if 300 <= response.status_code < 400 and not trail_of(request).is_settled:
                    _note_sent(request, owner, action or name, about)
        except (PermissionDenied, Http404) as refusal:
            if _is_staff(request):
                why = "not allowed" if isinstance(refusal, PermissionDenied) else "not found, or not allowed"
                _note_refused(request, owner, action or name, about, why)
            raise
        if why := trail_of(request).refusal:
            _note_refused(request, owner, action or name, about, why)
        return response

    page.audited = True  # type: ignore[attr-defined]
    return page


def _is_staff(request: HttpRequest) -> bool:
    return isinstance(request.user, User) and request.user.is_active and request.user.is_staff


def _note_sent(request: HttpRequest, owner: Any, act: str, about: tuple[Any, ...]) -> None:
    """The last resort: that the page was sent, by whom, and about which rows."""
    if _is_staff(request):
        rows = request.POST.getlist(ACTION_CHECKBOX_NAME)[:MAX_ROWS]
        _write(request, owner, act, about, {"rows": rows} if rows else {})


def _note_refused(request: HttpRequest, owner: Any, act: str, about: tuple[Any, ...], why: str) -> None:
    rows = request.POST.getlist(ACTION_CHECKBOX_NAME)[:MAX_ROWS]
    attempt: dict[str, Any] = {"attempt": act[:60], "why": why[:300], **({"rows": rows} if rows else {})}
    _write(request, owner, REFUSED, about or tuple(rows), attempt)


def _write(request: HttpRequest, owner: Any, act: str, about: tuple[Any, ...], after: dict[str, Any]) -> None:
    assert isinstance(request.user, User)  # noqa: S101  its callers have looked
    row = trail_of(request).refused_row
    rows = request.POST.getlist(ACTION_CHECKBOX_NAME)[:MAX_ROWS]
    audit.write(
        user=request.user,
        act=act,
        row=row,
        model=str(owner.opts.model_name) if owner and row is None else "",
        row_id="" if row is not None else str((*about, *rows, "")[0])[:60].replace("\0", ""),
        after=after,
        reason=request.POST.get("_reason", request.POST.get("reason", "")).strip(),
        request_id=trail_of(request).request_id,
        client=client_of(request),
        now=timezone.now(),
    )


def _key(row: Model) -> tuple[str, str]:
    return str(row._meta.model_name), str(row.pk)
