"""The account's API keys. A secret is shown once, on a page of its own that shows nothing again."""

from datetime import datetime, timedelta

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from billing.accounts import keys, shown_once
from billing.accounts.models import ApiKey, Scope
from portal.access import Visit, account_page, require_manager
from portal.frame import render_page
from portal.people.forms import SCOPE_HINTS, KeyForm, RotateForm

CLOSED_SHOWN = 20


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def api_keys(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The keys, and a form for a new one; on POST make it and go to its secret."""
    require_manager(visit)
    now = timezone.now()
    form = KeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        lifetime = form.cleaned_data["lifetime"]
        key, secret = keys.issue(
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            account=visit.account,
            expires_at=now + timedelta(days=int(lifetime)) if lifetime else None,
            created_by=visit.member.user,
            now=now,
        )
        return _go_to_secret(request, visit, key, secret)
    rows = ApiKey.objects.filter(account=visit.account).select_related("created_by").order_by("-created_at", "-pk")
    working = [key for key in rows if _works(key, now)]
    context = {
        "form": form,
        "keys": [(key, _scopes(key), _is_theirs(key)) for key in working],
        "closed": [(key, _scopes(key)) for key in rows if not _works(key, now)][:CLOSED_SHOWN],
    }
    return render_page(request, visit, "api_keys", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def rotate(request: HttpRequest, visit: Visit, key: int) -> HttpResponse:
    """Ask how long the old key goes on working; on POST make its successor and go to the secret."""
    old = _get_key(visit, key)
    if not _is_theirs(old):
        # The successor's secret would let a customer do what the key's maker may and they may not.
        raise Http404("No such key.")
    form = RotateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            successor, secret = keys.rotate(
                key=old,
                overlap_seconds=int(form.cleaned_data["overlap"]),
                rotated_by=visit.member.user,
                now=timezone.now(),
            )
        except keys.KeyClosed:
            raise Http404("No such key.") from None
        return _go_to_secret(request, visit, successor, secret)
    return render_page(request, visit, "api_key_rotate", {"form": form, "key": old}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def revoke(request: HttpRequest, visit: Visit, key: int) -> HttpResponse:
    """Ask whether to revoke a key; on POST refuse it from the next request on."""
    row = _get_key(visit, key)
    if request.method == "POST":
        keys.revoke(key=row, now=timezone.now())
        messages.success(
            request, _("%(name)s is revoked: programs that use it are refused from now on.") % {"name": row.name}
        )
        return redirect(visit.url("api_keys"))
    return render_page(request, visit, "api_key_revoke", {"key": row, "now": timezone.now()})


@require_safe
@account_page
def secret(request: HttpRequest, visit: Visit, key: int) -> HttpResponse:
    """The secret of a key that this session has just made; a second time the list, which does not have it."""
    row = _get_key(visit, key)
    now = timezone.now()
    shown = shown_once.take(request.session, key_id=row.pk, now=now) if request.method == "GET" else None
    if shown is None:
        text = _("The secret of %(name)s was shown once. If you have not copied it, rotate the key.")
        messages.warning(request, text % {"name": row.name})
        return redirect(visit.url("api_keys"))
    context = {"key": row, "secret": shown, "old": row.rotated_from, "now": now}
    return render_page(request, visit, "api_key_secret", context)


def _go_to_secret(request: HttpRequest, visit: Visit, key: ApiKey, secret: str) -> HttpResponse:
    shown_once.keep(request.session, key_id=key.pk, secret=secret, now=timezone.now())
    return redirect(visit.url("api_key_secret", key=key.pk))


def _get_key(visit: Visit, pk: int) -> ApiKey:
    """A working key of this account; 404 for another's, a platform key, and one that works no longer."""
    require_manager(visit)
    key = ApiKey.objects.filter(account=visit.account, pk=pk).first()
    if key is None or not _works(key, timezone.now()):
        raise Http404("No such key.")
    return key


def _works(key: ApiKey, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def _is_theirs(key: ApiKey) -> bool:
    """Whether a customer could have made it: it may do nothing that only staff hand out."""
    return set(key.scopes) <= set(SCOPE_HINTS)


def _scopes(key: ApiKey) -> str:
    return ", ".join(str(SCOPE_HINTS.get(Scope(scope), scope)) for scope in key.scopes)
