"""Notifications: the inbox, what a member wants to be told, and when a pool is low."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.ledger import balance, pools
from billing.ledger.models import CreditPool
from billing.ledger.pool_state import left
from billing.notifications import inbox, preferences
from billing.notifications.models import Notification
from billing.wording import amounts
from portal.access import Visit, account_page, require_manager
from portal.frame import list_pools, render_page
from portal.notifications.forms import LowBalanceForm, WishesForm

PAGE = 25
MAX_ID = 2**63 - 1


@require_safe
@account_page
def notifications(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The member's inbox, newest first: all of it, or what is unread."""
    now = visit.now
    only_unread = request.GET.get("show") == "unread"
    page = inbox.list_page(
        member=visit.member,
        now=now,
        only_unread=only_unread,
        size=PAGE,
        before=_id(request.GET.get("before")),
        after=_id(request.GET.get("after")),
    )
    here = visit.url("notifications")
    show = {"show": "unread"} if only_unread else {}
    context: dict[str, Any] = {
        "items": page.items,
        "now": now,
        "only_unread": only_unread,
        "older_url": f"{here}?{urlencode({**show, 'before': page.older})}" if page.older else "",
        "newer_url": f"{here}?{urlencode({**show, 'after': page.newer})}" if page.newer else "",
    }
    return render_page(request, visit, "notifications", context)


@require_safe
@account_page
def follow(request: HttpRequest, visit: Visit, notification: int) -> HttpResponse:
    """On to the page that a notification is about; following it is reading it."""
    now = visit.now
    try:
        item = inbox.get_item(member=visit.member, notification_id=notification, now=now)
    except Notification.DoesNotExist:
        raise Http404("No such notification.") from None
    inbox.mark_read(member=visit.member, notification_ids=[notification], now=now)
    return redirect(item.message.action.path if item.message.action else visit.url("notifications"))


@account_page
@require_POST
def mark_read(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Mark the notification that is named as read, or all of them."""
    now = visit.now
    back = visit.url("notifications") + ("?show=unread" if request.GET.get("show") == "unread" else "")
    if wanted := _id(request.POST.get("notification")):
        inbox.mark_read(member=visit.member, notification_ids=[wanted], now=now)
        return redirect(back)
    count = inbox.mark_all_read(member=visit.member, now=now)
    text = ngettext("%(count)d notification marked as read.", "%(count)d notifications marked as read.", count)
    messages.success(request, text % {"count": count})
    return redirect(back)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def notification_preferences(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What the member is told and how, and for owners and admins when a pool is low; on POST save the one or other."""
    act = request.POST.get("act", "")
    wishes = preferences.list_wishes(visit.member)
    wishes_form = WishesForm(request.POST if act == "wishes" else None, wishes=wishes)
    if act == "wishes" and wishes_form.is_valid() and _save_wishes(wishes_form, visit):
        messages.success(request, _("Saved: this is how you will be told."))
        return redirect(visit.url("notification_preferences"))
    low_form = None
    if visit.is_manager:
        low_form = LowBalanceForm(request.POST if act == "low" else None, pools=_pools(visit))
    if act == "low":
        require_manager(visit)
        if low_form is not None and low_form.is_valid():
            _save_low(low_form, now=visit.now)
            messages.success(request, _("Saved: you will be told when a pool falls below that."))
            return redirect(visit.url("notification_preferences"))
    has_errors = bool(wishes_form.errors or (low_form and low_form.errors))
    context = {"wishes_form": wishes_form, "low_form": low_form}
    return render_page(request, visit, "notification_preferences", context, status=422 if has_errors else 200)


def _save_wishes(form: WishesForm, visit: Visit) -> bool:
    """Save what a valid form says; False when it cannot be, and the form says why."""
    try:
        preferences.save(member_id=visit.member.pk, choices=form.choices)
    except preferences.LastListener as refusal:
        form.add_error(
            None,
            _(
                "%(kind)s: you are the last owner who gets this by e-mail, and somebody who can act must hear of it. "
                "Let another owner have it first."
            )
            % {"kind": refusal.kind.label},
        )
        return False
    return True


def _pools(visit: Visit) -> list[tuple[CreditPool, str]]:
    """The account's pools with what is left in each. Two queries, however many pools."""
    found, now = list_pools(visit), visit.now
    states = balance.read_states([pool.pk for pool in found], now=now)
    return [(pool, amounts.credits_text(left(states[pool.pk][0], at=now))) for pool in found]


def _save_low(form: LowBalanceForm, *, now: datetime) -> None:
    with transaction.atomic():
        for pool_id, below in sorted(form.changes.items()):
            pools.set_low_balance(pool_id=pool_id, below=below, now=now)


def _id(text: str | None) -> int | None:
    """A row's id from an address; None for anything else."""
    if text and text.isascii() and text.isdecimal() and int(text) <= MAX_ID:
        return int(text)
    return None
