"""Staff pages of collections."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from billing.accounts.models import StaffAct, User
from billing.payments import collecting, methods
from billing.payments.models import Collection, Payment
from tests.admin.conftest import Office, post, text_of
from tests.factories import make_issuer
from tests.payments import makers
from tests.payments.collectors import make_collection
from tests.payments.makers import make_card

LIST = "/admin/billing/collection/"
FORM = {"token": "5a6b3c1e-9a3d-4d3e-8c54-1c5f7d1f0a11", "reason": "Customer called"}
ACTS = ("retry", "stop", "mark-uncollectible")


@pytest.fixture
def overdue(office: Office) -> Collection:
    make_issuer()
    make_card(office.account, makers.DECLINE, now=office.now)
    row = make_collection(office.account, now=office.now)
    collecting.run_due(now=office.now, limit=10)
    row.refresh_from_db()
    return row


def test_the_list_tells_the_overdue_from_the_others(staff, overdue) -> None:
    assert "€119.00" in text_of(staff, LIST)
    assert "1 collection" in text_of(staff, f"{LIST}?standing=dunned")
    assert "0 collections" in text_of(staff, f"{LIST}?standing=stuck")
    assert "0 collections" in text_of(staff, f"{LIST}?standing=fault")
    Collection.objects.update(retries_stopped=True, last_error="KeyError: final_days")
    assert "1 collection" in text_of(staff, f"{LIST}?standing=stuck")
    assert "KeyError: final_days" in text_of(staff, f"{LIST}?standing=fault")
    assert "Collections with a fault" in text_of(staff, "/admin/work/")


def test_its_page_says_what_was_tried_and_what_comes(staff, overdue) -> None:
    page = text_of(staff, f"{LIST}{overdue.pk}/change/")
    for said in ("The card was declined.", "try again", "reminder", "end the subscription", "Stop collecting"):
        assert said in page


def test_before_it_is_overdue_its_page_says_the_days(staff, office) -> None:
    make_issuer()
    row = make_collection(office.account, now=office.now)
    page = text_of(staff, f"{LIST}{row.pk}/change/")
    assert "Tried again after days: 3, 7" in page
    assert "After days 14: end the subscription" in page


def test_staff_try_again_once_per_form(staff, office, overdue) -> None:
    assert "Charge the payment method now" in text_of(staff, f"{LIST}{overdue.pk}/retry/")
    for _ in range(2):
        assert "The payment is: failed. The card was declined." in post(staff, f"{LIST}{overdue.pk}/retry/", **FORM)
    assert Payment.objects.count() == 2
    act = StaffAct.objects.order_by("pk")[0]
    assert (act.act, act.model, act.row_id, act.reason) == (
        "retry", "collection", str(overdue.pk), "Customer called",
    )  # fmt: skip


def test_a_try_that_succeeds_ends_it(staff, office, overdue) -> None:
    make_card(office.account, now=office.now, make_default=True)
    assert "The payment is: succeeded." in post(staff, f"{LIST}{overdue.pk}/retry/", **FORM)
    page = text_of(staff, f"{LIST}{overdue.pk}/change/")
    assert "Try again now" not in page
    assert Collection.objects.get().state == "paid"


def test_staff_stop_it_with_a_reason(staff, overdue) -> None:
    assert "Please correct" in post(staff, f"{LIST}{overdue.pk}/stop/", token=FORM["token"], reason="")
    assert Collection.objects.get().state == "overdue"
    assert "The invoice stays owed." in post(staff, f"{LIST}{overdue.pk}/stop/", **FORM)
    overdue.refresh_from_db()
    assert (overdue.state, overdue.invoice.state) == ("stopped", "open")
    act = StaffAct.objects.get()
    assert (act.act, act.before["state"], act.after["state"]) == ("stop", "overdue", "stopped")


def test_staff_give_it_up(staff, overdue) -> None:
    assert "The invoice is uncollectible now." in post(staff, f"{LIST}{overdue.pk}/mark-uncollectible/", **FORM)
    overdue.refresh_from_db()
    overdue.invoice.refresh_from_db()
    assert (overdue.state, overdue.invoice.state) == ("stopped", "uncollectible")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [("closed", "It is over"), ("no card", "no payment method to charge"), ("no gateway", "not configured any more")],
)
def test_what_cannot_be_tried_is_refused_and_nothing_is_charged(staff, office, overdue, spoil, said, settings) -> None:
    if spoil == "closed":
        Collection.objects.update(state="stopped", closed_at=office.now, next_at=None)
    elif spoil == "no card":
        default = methods.find_default(office.account.pk)
        assert default is not None
        methods.remove(account_id=office.account.pk, method_id=default.pk, now=office.now)
    else:
        settings.FLORIN_GATEWAY = ""
    assert said in post(staff, f"{LIST}{overdue.pk}/retry/", **FORM)
    assert Payment.objects.filter(state="succeeded").count() == 0


def test_an_act_on_none_is_not_found(staff, overdue) -> None:
    for act in ACTS:
        assert staff.get(f"{LIST}{overdue.pk + 1}/{act}/").status_code == 404, act


@pytest.fixture
def colleague(client: Client, office: Office) -> Client:
    """A browser of staff who may look at collections."""
    viewer = User.objects.create_user("vera@example.com", "florin", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_collection"))
    client.force_login(viewer)
    return client


def test_without_the_right_staff_may_look_and_not_act(overdue, colleague: Client) -> None:
    assert "Try again now" not in text_of(colleague, f"{LIST}{overdue.pk}/change/")
    for act in ACTS:
        assert colleague.post(f"{LIST}{overdue.pk}/{act}/", FORM).status_code == 403, act
        assert (Collection.objects.get().state, Payment.objects.count()) == ("overdue", 1), act


def test_others_are_sent_to_the_login(client: Client, overdue) -> None:
    for act in ACTS:
        assert client.post(f"{LIST}{overdue.pk}/{act}/", FORM).status_code == 302, act
        assert (Collection.objects.get().state, Payment.objects.count()) == ("overdue", 1), act
