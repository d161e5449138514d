"""The one tenancy check: every page of an account asks here who may see it.

Promises
- Whoever is not signed in goes to the login page and comes back.
- Whoever is not a member of the account, or not any more, gets 404: the same as for an account that does not exist.
- Every role may read. What binds the account (buying, paying, the team, keys) asks `require_manager`: others get a 403
  page with the reason. A page's times are in the account's zone, and no cache keeps what it shows.
- Staff who look through a customer's eyes (`billing.accounts.impersonation`) are a viewer of that one account for a
  while: nothing but GET, in a transaction that cannot write, under a banner.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Concatenate, ParamSpec
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django_htmx.http import HttpResponseClientRefresh

from billing.accounts import clocks, ids, impersonation
from billing.accounts.impersonation import Impersonation
from billing.accounts.models import Account, Member, Role, User
from billing.notifications import inbox
from portal import navigation

Extra = ParamSpec("Extra")


@dataclass(frozen=True, slots=True)
class Visit:
    """A person on a page of one of their accounts. `places` are all the accounts they are in, this one included.

    `looking`: they are staff who look through the account's eyes, until then; `member` is a viewer that is not stored.
    """

    member: Member
    places: list[Member]
    looking: Impersonation | None = None

    @property
    def account(self) -> Account:
        return self.member.account

    @property
    def now(self) -> datetime:
        """What time it is for the account: its test clock's, if it is on one. It goes on between two questions."""
        return clocks.time_of(self.account, timezone.now())

    @property
    def is_manager(self) -> bool:
        """Whether the person may act for the account: an owner or admin."""
        return self.member.role in (Role.OWNER, Role.ADMIN)

    @property
    def is_owner(self) -> bool:
        """Whether the person is an owner: only they make, change and remove owners."""
        return self.member.role == Role.OWNER

    @property
    def unread(self) -> int:
        """How many notifications of this account the person has not read."""
        return int(getattr(self.member, "unread", 0))

    @property
    def public_id(self) -> str:
        """Our own id of the account, which never changes."""
        return _public_id(self.account.pk)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.member.account.time_zone)

    def url(self, name: str, **parts: object) -> str:
        """Where this account's page `name` is."""
        return account_url(self.member.account, name, **parts)

    @property
    def menu(self) -> list[navigation.Group]:
        """The account's pages that this person may open, with how much waits on them."""
        counts = {"notifications": self.unread}
        return navigation.menu(url=self.url, is_manager=self.is_manager, counts=counts)

    @property
    def place_links(self) -> list[tuple[Member, str]]:
        """The overview of each of the person's accounts."""
        return [(place, account_url(place.account)) for place in self.places]


def account_url(account: Account, name: str = "dashboard", **parts: object) -> str:
    """Where the account's page `name` is; addresses carry our own id, which never changes."""
    return reverse(f"portal:{name}", kwargs={"account": _public_id(account.pk), **parts})


def require_manager(visit: Visit) -> None:
    """Let owners and admins through; raises PermissionDenied, a 403 page that says why, for everybody else."""
    if not visit.is_manager:
        reason = _(
            "Your role in %(account)s is %(role)s. Only owners and admins may do this; one of them can change it."
        )
        raise PermissionDenied(reason % {"role": visit.member.get_role_display(), "account": visit.account.name})


def _public_id(account_id: int) -> str:
    return ids.encode(ids.ACCOUNT, account_id)


def list_places(user: User) -> list[Member]:
    """All accounts the person is in, by name, each with how much is `unread` there. One query."""
    places = Member.objects.filter(user=user, removed_at=None).select_related("account")
    places = inbox.with_unread(places, now=timezone.now())
    return list(places.order_by("account__name", "account_id"))


def account_page(
    view: Callable[Concatenate[HttpRequest, Visit, Extra], HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Turn `view(request, visit)` into a page of `/a/<account>`, our id or the integrator's, for its members only."""

    @never_cache
    @_reload_when_signed_out
    @login_required
    @wraps(view)
    def page(request: HttpRequest, account: str, *args: Extra.args, **kwargs: Extra.kwargs) -> HttpResponseBase:
        assert isinstance(request.user, User)  # noqa: S101  login_required lets nobody else through
        visit = _look(request, request.user, account) or _visit(request.user, account)
        with timezone.override(visit.zone), _reading() if visit.looking else nullcontext():
            try:
                if visit.looking and request.method not in ("GET", "HEAD"):
                    raise PermissionDenied(_("You look through this account's eyes and can change nothing."))
                return view(request, visit, *args, **kwargs)
            except PermissionDenied as refusal:
                return render(request, "portal/forbidden.html", {"visit": visit, "refusal": refusal}, status=403)

    return page


def _reload_when_signed_out(page: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """A part of a page that is asked for after the session has ended has the whole page go to the login."""

    @wraps(page)
    def part(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if "HX-Request" in request.headers and not request.user.is_authenticated:
            return HttpResponseClientRefresh()
        return page(request, *args, **kwargs)

    return part


def _visit(user: User, account: str) -> Visit:
    # Staff look through an account's eyes, and are in none; what they were before is closed to them.
    places = [] if user.is_staff else list_places(user)
    here = [place for place in places if account in (_public_id(place.account_id), place.account.external_id)]
    if not here:
        raise Http404("No such account.")
    return Visit(member=here[0], places=places)


def _look(request: HttpRequest, user: User, account: str) -> Visit | None:
    """The visit of staff who look through this account's eyes, if that still holds and they still may."""
    found = impersonation.find(request.session, now=timezone.now()) if user.is_staff else None
    if found is None or account != _public_id(found.account_id) or not user.has_perm(impersonation.PERMISSION):
        return None
    # No row has the key 0, so that nothing is found to be this member's.
    account_ = Account.objects.get(pk=found.account_id)
    member = Member(pk=0, account=account_, user=user, role=Role.VIEWER, created_at=timezone.now())
    return Visit(member=member, places=[member], looking=found)


@contextmanager
def _reading() -> Iterator[None]:
    """A transaction in which PostgreSQL refuses to write."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        yield


def managers_url(visit: Visit, name: str) -> str:
    """Where a page is that only owners and admins may open; empty for others."""
    return visit.url(name) if visit.is_manager else ""
