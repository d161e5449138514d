"""What a member wants to be told, and when a pool is low."""

from decimal import Decimal

import pytest
from django.test import Client

from billing.accounts.ids import encode
from billing.accounts.models import Role
from billing.ledger import pools
from billing.ledger.models import CreditPool
from billing.notifications.kinds import readable_by
from billing.notifications.models import Channel, NotificationPreference
from tests.factories import make_member, make_user
from tests.notifications.makers import tell
from tests.portal.conftest import Stage
from tests.portal.test_notifications import page_of

ON = {
    f"{kind.name}-{channel}": "on" for kind in readable_by(Role.OWNER) for channel in Channel
}  # Everything ticked, as a browser sends it.


def save(client: Client, stage: Stage, *without: str, status: int = 302) -> str:
    ticked = {name: value for name, value in ON.items() if name not in without}
    response = client.post(f"{stage.url}/notifications/preferences", {"act": "wishes", **ticked})
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def chosen() -> dict[tuple[str, str], bool]:
    return {(row.kind, row.channel): row.is_on for row in NotificationPreference.objects.all()}


@pytest.fixture
def bob(stage: Stage) -> Client:
    user = make_user("bob")
    make_member(stage.account, user, Role.MEMBER, now=stage.now)
    client = Client()
    client.force_login(user)
    return client


def checkbox(page: str, name: str) -> str:
    """The checkbox of this name as the page has it."""
    return page.split(f'name="{name}"')[1].split(">")[0]


def test_owners_are_told_everything_until_they_say_otherwise(alice: Client, stage: Stage) -> None:
    page = page_of(alice, f"{stage.url}/notifications/preferences")
    for kind in readable_by(Role.OWNER):
        assert str(kind.label) in page
        for channel in Channel:
            assert "checked" in checkbox(page, f"{kind.name}-{channel}")
    assert "alice@example.com" in page


def test_what_is_switched_off_stays_off(alice: Client, stage: Stage) -> None:
    save(alice, stage, "receipt-email", "threshold-inbox")
    assert chosen()["receipt", "email"] is False
    assert chosen()["receipt", "inbox"] is True
    page = page_of(alice, f"{stage.url}/notifications/preferences")
    assert "checked" not in checkbox(page, "receipt-email")
    assert "checked" not in checkbox(page, "threshold-inbox")
    save(alice, stage)
    assert "checked" in checkbox(page_of(alice, f"{stage.url}/notifications/preferences"), "receipt-email")


def test_a_muted_kind_leaves_the_inbox_and_the_bell(alice: Client, stage: Stage) -> None:
    tell(stage.account, "threshold", now=stage.now)
    save(alice, stage, "threshold-inbox")
    page = page_of(alice, f"{stage.url}/notifications")
    assert "Nothing yet" in page
    assert '<span class="count">' not in page


def test_the_last_owner_hears_of_failed_payments(alice: Client, stage: Stage) -> None:
    page = save(alice, stage, "payment_failed-email", status=422)
    assert "Failed payments: you are the last owner" in page
    assert chosen() == {}
    assert "checked" not in checkbox(page, "payment_failed-email")


def test_another_owner_may_take_over_listening(alice: Client, stage: Stage) -> None:
    make_member(stage.account, make_user("carol"), Role.OWNER, now=stage.now)
    save(alice, stage, "payment_failed-email")
    assert chosen()["payment_failed", "email"] is False


def test_what_went_wrong_with_money_cannot_leave_the_inbox(alice: Client, stage: Stage) -> None:
    assert "disabled" in checkbox(page_of(alice, f"{stage.url}/notifications/preferences"), "payment_failed-inbox")
    tell(stage.account, "payment_failed", now=stage.now)
    save(alice, stage, "payment_failed-inbox")
    assert "did not go through" in page_of(alice, f"{stage.url}/notifications")


def test_members_choose_among_what_concerns_them(bob: Client, stage: Stage) -> None:
    page = page_of(bob, f"{stage.url}/notifications/preferences")
    assert "Receipts" not in page
    assert "checked" not in checkbox(page, "threshold-email")
    assert "checked" in checkbox(page, "threshold-inbox")
    assert "When is a balance low?" not in page
    save(bob, stage)
    assert {kind for kind, _ in chosen()} == {"threshold", "low_balance", "expiring", "charge_refused"}


def low(client: Client, stage: Stage, below: str, pool: CreditPool | None = None, status: int = 302) -> str:
    field = f"below-{(pool or stage.pool).pk}"
    response = client.post(f"{stage.url}/notifications/preferences", {"act": "low", field: below})
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def below(stage: Stage) -> Decimal | None:
    stage.pool.refresh_from_db()
    return stage.pool.low_balance_below


def test_when_a_pool_is_low_is_set_and_unset(alice: Client, stage: Stage) -> None:
    assert "749.5 left now" in page_of(alice, f"{stage.url}/notifications/preferences")
    low(alice, stage, "500.5")
    assert below(stage) == Decimal("500.5")
    assert 'value="500.5"' in page_of(alice, f"{stage.url}/notifications/preferences")
    low(alice, stage, "")
    assert below(stage) is None


@pytest.mark.parametrize("typed", ["0", "-5", "NaN", "1e30", "Infinity", "much", "0.0000001", "9" * 30])
def test_what_is_no_amount_of_credits_is_refused(alice: Client, stage: Stage, typed: str) -> None:
    page = low(alice, stage, typed, status=422)
    assert 'aria-invalid="true"' in page
    assert below(stage) is None


def test_members_do_not_set_when_a_pool_is_low(bob: Client, stage: Stage) -> None:
    low(bob, stage, "500", status=403)
    assert below(stage) is None


def test_another_accounts_pool_is_left_alone(client: Client, stage: Stage) -> None:
    client.force_login(stage.mallory)
    elsewhere = stage.mallory.memberships.get().account
    response = client.post(
        f"/a/{encode('acc', elsewhere.pk)}/notifications/preferences", {"act": "low", f"below-{stage.pool.pk}": "5"}
    )
    assert response.status_code == 302
    assert below(stage) is None
    assert client.post(f"{stage.url}/notifications/preferences", {"act": "low"}).status_code == 404


def test_each_pool_has_its_field(alice: Client, stage: Stage) -> None:
    team = pools.open_pool(account=stage.account, key="research", name="<b>Research</b>", now=stage.now)
    page = page_of(alice, f"{stage.url}/notifications/preferences")
    assert "&lt;b&gt;Research&lt;/b&gt;" in page
    assert "<b>Research" not in page
    low(alice, stage, "10", team)
    team.refresh_from_db()
    assert (team.low_balance_below, below(stage)) == (10, None)
