"""The pages of an account, in the groups the menu shows them in. Pages that have no route are left out."""

from collections.abc import Callable
from dataclasses import dataclass

from django.urls import NoReverseMatch
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Page:
    """An entry of the menu: the route it leads to, and the routes beneath it, where it stays marked.

    `managers_only` pages are shown to those who may open them. `count` is a small number beside the name, 0 for none.
    """

    route: str
    name: str | Promise
    beneath: tuple[str, ...] = ()
    managers_only: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of this account as a link."""

    page: Page
    url: str
    count: int = 0

    @property
    def routes(self) -> tuple[str, ...]:
        return (self.page.route, *self.page.beneath)


@dataclass(frozen=True, slots=True)
class Group:
    """Pages that belong together; the first group has no title."""

    title: str | Promise
    entries: list[Entry]


MENU: tuple[tuple[str | Promise, tuple[Page, ...]], ...] = (
    ("", (Page("dashboard", _("Overview")),)),
    (
        _("Credits"),
        (
            Page("ledger", _("Ledger")),
            Page("usage", _("Usage")),
            Page("buy", _("Buy credits"), ("checkout", "purchase"), managers_only=True),
            Page("top_ups", _("Automatic top-up"), managers_only=True),
        ),
    ),
    (
        _("Billing"),
        (
            Page(
                "plan",
                _("Plan"),
                ("plans", "plan_choice", "plan_seats", "plan_pause", "plan_cancel", "plan_next", "plan_history"),
            ),
            Page("invoices", _("Invoices"), ("invoice", "pay", "statement")),
            Page("payment_methods", _("Payment methods"), managers_only=True),
            Page("billing_details", _("Billing details"), managers_only=True),
        ),
    ),
    (
        _("Organisation"),
        (
            Page("team", _("Team"), ("member", "member_remove")),
            Page("api_keys", _("API keys"), ("api_key_rotate", "api_key_revoke"), managers_only=True),
            Page("notifications", _("Notifications"), ("notification_preferences",)),
            Page("help", _("Help")),
        ),
    ),
)


def menu(*, url: Callable[[str], str], is_manager: bool, counts: dict[str, int]) -> list[Group]:
    """The menu for a manager of the account or for another member. `counts` are by route."""
    groups = []
    for title, pages in MENU:
        entries = []
        for page in pages:
            if page.managers_only and not is_manager:
                continue
            try:
                entries.append(Entry(page, url(page.route), counts.get(page.route, 0)))
            except NoReverseMatch:
                continue
        if entries:
            groups.append(Group(title, entries))
    return groups
