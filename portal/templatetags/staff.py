"""Template tags of the staff admin's own templates."""

import json
from decimal import Decimal
from typing import Any

from django import template
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from billing.accounts import people
from billing.accounts.models import User
from billing.admin.finance.figures import SEES_FIGURES
from billing.admin.overview import Figure, list_figures
from billing.admin.rules import Act, RoomAdmin
from billing.admin.work import Queue, list_queues
from billing.catalog.pricing import round_money
from billing.wording import amounts

register = template.Library()

# In the order of the day's work, not of the alphabet.
ROOMS = (
    "accounts",
    "subscriptions",
    "purchases",
    "payments",
    "invoicing",
    "catalog",
    "ledger",
    "metering",
    "notifications",
)


@register.simple_tag
def business_figures() -> list[Figure]:
    """The figures of the first page."""
    return list_figures()


@register.simple_tag
def waiting(user: User) -> list[Queue]:
    """The queues in which something waits for this person."""
    return [queue for queue in list_queues(user=user, now=timezone.now()) if queue.count]


@register.simple_tag
def staff_pages(request: HttpRequest) -> list[Act]:
    """Pages that are no table's list, as far as the person may open them."""
    found = [Act(_("Work"), reverse("staff:work"))]
    if request.user.has_perm(SEES_FIGURES):
        found.append(Act(_("Figures"), reverse("staff:figures")))
        found.append(Act(_("Finance"), reverse("staff:finance")))
    rooms = [owner for owner in admin.site._registry.values() if isinstance(owner, RoomAdmin)]
    return [*found, *(page for room in rooms for page in room.list_pages(request) if page.on_index)]


@register.filter
def rounded_money(amount: Decimal, currency: str) -> str:
    """An exact amount, rounded to the currency's minor units: `€1,200.35`."""
    return amounts.money_text(round_money(amount, currency), currency)


@register.filter
def as_json(value: object) -> str:
    """An event's properties as the integrator wrote them."""
    return json.dumps(value, ensure_ascii=False)


@register.filter
def by_room(app_list: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tables of the admin's list, one group per room of ours; other apps' groups follow."""
    rooms: dict[str, list[dict[str, Any]]] = {room: [] for room in ROOMS}
    for app in app_list:
        for table in app["models"]:
            parts = table["model"].__module__.split(".")
            rooms.setdefault(parts[1] if parts[0] == "billing" else str(app["name"]), []).append(table)
    return [{"name": name, "tables": tables} for name, tables in rooms.items() if tables]


@register.filter
def of(values: dict[str, object], name: str) -> object:
    """What a mapping has under a name; None for nothing."""
    return values.get(name)


@register.filter
def way_name(way: str) -> str:
    """How revenue was earned, in words."""
    names = {
        "use": _("Used"),
        "overage": _("Overage"),
        "time": _("By time"),
        "at_once": _("When invoiced"),
        "breakage": _("Breakage"),
        "adjusted": _("Adjusted"),
        "rounding": _("Rounding"),
        "not_invoiced_use": _("Used, not invoiced"),
        "not_invoiced_breakage": _("Breakage, not invoiced"),
    }
    return names[way]


@register.filter
def bucket_name(bucket: str) -> str:
    """How long something is overdue, in words."""
    names = {
        "not_due": _("Not due yet"),
        "to_30": _("Up to 30 days"),
        "to_60": _("31 to 60 days"),
        "to_90": _("61 to 90 days"),
        "older": _("More than 90 days"),
    }
    return names[bucket]


@register.filter
def lacks_second_factor(user: User) -> bool:
    """Whether to offer one in the header: where it is required, whoever is here has one."""
    return not settings.FLORIN_STAFF_SECOND_FACTOR and not people.has_second_factor(user)
