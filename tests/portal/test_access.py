"""Who may see which page of the portal, enumerated from the routes so that a new page cannot be forgotten."""

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import URLPattern

from billing.accounts import members
from billing.accounts.models import Member, Role
from portal import access, urls
from tests.factories import make_member, make_user
from tests.portal.conftest import Stage

# Addresses that name a row or only take a POST are in the sweep of every route and in the tests of their pages.
ROUTES = {
    str(route.pattern).removeprefix("a/<str:account>"): str(route.name)
    for route in urls.urlpatterns
    if isinstance(route, URLPattern) and str(route.pattern).startswith("a/")
}
PAGES_WITH_POOLS = ["", "/ledger", "/ledger.csv"]
READ_ONLY = ["", "/ledger", "/ledger.csv"]
MANAGERS_ONLY = {"/api-keys", "/billing-details", "/buy", "/payment-methods", "/top-ups"}
POST_ONLY = {"/notifications/read", "/payment-methods/setup"}
# Nobody has these without a plan or an issuer: the tests of their pages make both.
NEEDING_ROWS = {"/plan/cancel", "/plan/next-invoice", "/plan/pause", "/plan/seats", "/statement.pdf"}
ACCOUNT_PAGES = [page for page in ROUTES if "<" not in page]
OPEN_PAGES = [page for page in ACCOUNT_PAGES if page not in MANAGERS_ONLY | POST_ONLY | NEEDING_ROWS]


def test_the_routes_are_found() -> None:
    assert "" in ACCOUNT_PAGES
    assert "/ledger" in ACCOUNT_PAGES
    assert set(ROUTES) >= MANAGERS_ONLY


@pytest.mark.parametrize("page", ACCOUNT_PAGES)
def test_the_anonymous_go_to_the_login_page_and_come_back(client: Client, stage: Stage, page: str) -> None:
    response = client.get(stage.url + page)
    assert response.status_code == 302
    assert response["Location"] == f"/login?next={stage.url}{page}"


@pytest.mark.parametrize("page", ACCOUNT_PAGES)
@pytest.mark.parametrize("address", ["acc_{pk}", "northwind"])
def test_a_stranger_gets_404(client: Client, stage: Stage, page: str, address: str) -> None:
    client.force_login(stage.mallory)
    response = client.get(f"/a/{address.format(pk=stage.account.pk)}{page}")
    assert response.status_code == 404
    assert "northwind" not in response.content.decode().lower()


@pytest.mark.parametrize("page", ACCOUNT_PAGES)
@pytest.mark.parametrize("account", ["acc_999999", "acc_99999999999999999999", "acc_0", "nobody", "acc_", "%00"])
def test_an_account_that_does_not_exist_is_404(alice: Client, page: str, account: str) -> None:
    assert alice.get(f"/a/{account}{page}").status_code == 404


@pytest.mark.parametrize("page", OPEN_PAGES)
@pytest.mark.parametrize("role", Role.values)
def test_every_role_may_read(client: Client, stage: Stage, page: str, role: str) -> None:
    bob = make_user("bob")
    make_member(stage.account, bob, role, now=stage.now)
    client.force_login(bob)
    assert client.get(stage.url + page).status_code == 200


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("page", sorted(MANAGERS_ONLY))
def test_owners_and_admins_alone_open_what_is_theirs(client: Client, stage: Stage, page: str, role: str) -> None:
    bob = make_user("bob")
    make_member(stage.account, bob, role, now=stage.now)
    client.force_login(bob)
    response = client.get(stage.url + page)
    assert response.status_code == (200 if role in (Role.OWNER, Role.ADMIN) else 403)


def _act(request: HttpRequest, visit: access.Visit) -> HttpResponse:
    access.require_manager(visit)
    return HttpResponse("done")


@pytest.mark.parametrize("role", Role.values)
def test_a_refusal_is_a_page_of_the_account(rf: RequestFactory, stage: Stage, role: str) -> None:
    bob = make_user("bob")
    make_member(stage.account, bob, role, now=stage.now)
    request = rf.get(stage.url)
    request.user = bob
    response = access.account_page(_act)(request, account=f"acc_{stage.account.pk}")
    if role in (Role.OWNER, Role.ADMIN):
        assert response.content == b"done"  # type: ignore[attr-defined]
    else:
        assert response.status_code == 403
        text = response.content.decode()  # type: ignore[attr-defined]
        assert f"Your role in Northwind is {role.title()}" in text
        assert 'aria-label="Account"' in text


@pytest.mark.parametrize("page", ACCOUNT_PAGES)
def test_a_removed_member_gets_404(client: Client, stage: Stage, page: str) -> None:
    bob = make_user("bob")
    member = make_member(stage.account, bob, now=stage.now)
    client.force_login(bob)
    members.remove(member_id=member.pk, now=stage.now)
    assert client.get(stage.url + page).status_code == 404
    assert Member.objects.filter(pk=member.pk).exists()


@pytest.mark.parametrize("page", ACCOUNT_PAGES)
def test_a_disabled_user_is_sent_to_the_login_page(alice: Client, stage: Stage, page: str) -> None:
    stage.alice.is_active = False
    stage.alice.save()
    assert alice.get(stage.url + page)["Location"].startswith("/login")


@pytest.mark.parametrize("page", PAGES_WITH_POOLS)
def test_a_pool_of_another_account_is_404(alice: Client, stage: Stage, page: str) -> None:
    assert alice.get(f"{stage.url}{page}?pool=elsewhere").status_code == 404


@pytest.mark.parametrize("page", [page for page in ACCOUNT_PAGES if page not in NEEDING_ROWS])
def test_no_cache_keeps_a_page(alice: Client, stage: Stage, page: str) -> None:
    assert "no-store" in alice.get(stage.url + page)["Cache-Control"]


@pytest.mark.parametrize("page", READ_ONLY)
def test_pages_are_read_only(alice: Client, stage: Stage, page: str) -> None:
    assert alice.post(stage.url + page).status_code == 405


@pytest.mark.parametrize("page", [page for page in ACCOUNT_PAGES if page not in POST_ONLY | NEEDING_ROWS])
def test_the_integrators_id_is_an_address_too(alice: Client, page: str) -> None:
    assert alice.get(f"/a/northwind{page}").status_code == 200


def test_staff_see_no_account_that_they_are_not_in(client: Client, stage: Stage) -> None:
    staff = make_user("stella")
    staff.is_staff = staff.is_superuser = True
    staff.save()
    client.force_login(staff)
    assert client.get(stage.url).status_code == 404


@pytest.mark.parametrize("role", Role.values)
def test_only_owners_and_admins_may_act_for_the_account(stage: Stage, role: str) -> None:
    bob = make_user("bob")
    visit = access.Visit(make_member(stage.account, bob, role, now=stage.now), [])
    if role in ("owner", "admin"):
        access.require_manager(visit)
    else:
        with pytest.raises(PermissionDenied, match=r"Your role in Northwind is (Member|Viewer)\. Only owners"):
            access.require_manager(visit)
