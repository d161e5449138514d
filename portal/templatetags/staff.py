"""Template tags of the staff admin's own templates."""

import json
from typing import Any

from django import template

from billing.admin.overview import Figure, list_figures

register = template.Library()

# In the order of the day's work, not of the alphabet.
ROOMS = ("accounts", "purchases", "payments", "invoicing", "catalog", "ledger", "metering", "notifications")


@register.simple_tag
def business_figures() -> list[Figure]:
    """The figures of the first page."""
    return list_figures()


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
