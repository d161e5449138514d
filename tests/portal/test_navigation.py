"""The menu of an account's pages."""

import pytest
from django.test import Client
from django.urls import NoReverseMatch

from billing.accounts.models import Role
from portal import navigation
from tests.factories import make_account, make_member
from tests.portal.conftest import Stage


def _routes(*, is_manager: bool, missing: str = "", counts: dict[str, int] | None = None) -> dict[str, int]:
    def url(route: str) -> str:
        if route == missing:
            raise NoReverseMatch
        return f"/{route}"

    groups = navigation.menu(url=url, is_manager=is_manager, counts=counts or {})
    return {entry.page.route: entry.count for group in groups for entry in group.entries}


def test_managers_see_every_page() -> None:
    assert set(_routes(is_manager=True)) == {page.route for _, pages in navigation.MENU for page in pages}


def test_others_see_what_they_may_open() -> None:
    routes = _routes(is_manager=False)
    assert {"dashboard", "ledger", "invoices", "team"} <= set(routes)
    assert not {"buy", "top_ups", "payment_methods", "billing_details", "api_keys"} & set(routes)


def test_a_page_without_a_route_is_left_out() -> None:
    assert "ledger" not in _routes(is_manager=True, missing="ledger")


def test_a_count_stands_beside_its_page() -> None:
    assert _routes(is_manager=True, counts={"notifications": 3})["notifications"] == 3


def test_the_page_that_is_shown_is_marked(alice: Client, stage: Stage) -> None:
    page = alice.get(f"{stage.url}/ledger").content.decode()
    assert f'<a href="{stage.url}/ledger" aria-current="page">Ledger</a>' in page
    assert f'<a href="{stage.url}">Overview</a>' in page


@pytest.mark.parametrize("several", [True, False])
def test_the_persons_other_accounts_are_offered(alice: Client, stage: Stage, several: bool) -> None:
    if several:
        make_member(make_account("second"), stage.alice, Role.VIEWER)
    assert ("Second</a>" in alice.get(stage.url).content.decode()) is several
