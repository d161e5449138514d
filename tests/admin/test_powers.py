"""The list of everything staff can do that moves money, credits or rights: it is complete, and each act is limited."""

from datetime import date

from django.contrib import admin
from django.test import RequestFactory
from django.urls import URLPattern

from billing.accounts.models import User
from billing.admin.powers import HARMLESS, POWERS
from billing.admin.urls import urlpatterns
from billing.invoicing.models import TaxRate

# Pages of every table that cannot be sent anything to.
LOOKING = ("changelist", "history", "delete", "autocomplete")
POWER_DOORS = [door for power in POWERS.values() for door in power.doors]


def _doors() -> set[str]:
    """Every page and list action that somebody who may do everything can send something to, as the admin has them."""
    request = RequestFactory().get("/")
    request.user, row = User(is_superuser=True, is_staff=True, is_active=True), TaxRate(valid_from=date.max)
    found = set()
    for model, owner in admin.site._registry.items():
        table = f"{model._meta.app_label}_{model._meta.model_name}"
        names = {pattern.name for pattern in owner.get_urls() if isinstance(pattern, URLPattern) and pattern.name}
        names -= {f"{table}_{page}" for page in (*LOOKING, "add", "change")}
        may = {
            "add": owner.has_add_permission(request),
            "change": owner.has_change_permission(request),
            # Of a tax rate that has not begun, which is all that can be deleted.
            "delete": owner.has_delete_permission(request, row if model is TaxRate else None),
        }
        names |= {f"{table}_{page}" for page, allowed in may.items() if allowed}
        found |= names | {f"{table}.{action}" for action in owner.get_actions(request)}
    return found


def test_everything_that_staff_can_send_is_in_the_list_once() -> None:
    doors, listed = _doors(), {*POWER_DOORS, *HARMLESS}
    assert (len(doors) > 90, len(POWERS) > 20) == (True, True)
    assert (sorted(doors - listed), sorted(listed - doors)) == ([], [])
    assert (set(POWER_DOORS) & set(HARMLESS), [door for door, why in HARMLESS.items() if not why]) == (set(), [])


def test_the_admins_pages_without_a_table_only_show_something() -> None:
    assert [page.name for page in urlpatterns] == ["work", "figures", "finance", "finance_csv", "figures_csv"]
