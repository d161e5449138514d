"""Staff look where a person is signed in, and sign them out there."""

import pytest
from django.test import Client

from billing.accounts import roles
from billing.accounts.models import StaffAct, User
from tests.admin.conftest import Office, post, text_of
from tests.admin.test_roles import _colleague
from tests.undoing import undone

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"


def _address(user: User) -> str:
    return f"/admin/billing/user/{user.pk}/sessions/"


def _sign_in(user: User) -> list[Client]:
    """Two browsers in which the person signs in with the password."""
    user.set_password("a password of hers")
    user.save()
    browsers = [Client(headers={"User-Agent": agent}) for agent in (FIREFOX, IPHONE)]
    for browser in browsers:
        assert browser.post("/login", {"login": user.email, "password": "a password of hers"}).status_code == 302
    return browsers


def _are_in(browsers: list[Client]) -> list[bool]:
    return [browser.get("/profile").status_code == 200 for browser in browsers]


def _handles(staff: Client, user: User) -> list[str]:
    form = staff.get(_address(user)).context["form"]
    return [handle for handle, _label in form.fields["browsers"].choices]


def test_staff_sign_a_person_out_of_the_browsers_they_choose_once_they_confirm(staff: Client, office: Office) -> None:
    browsers = _sign_in(office.alice)
    page = text_of(staff, f"/admin/billing/user/{office.alice.pk}/change/")
    assert _address(office.alice) in page
    iphone, _firefox = _handles(staff, office.alice)
    chosen = {"browsers": [iphone], "reason": "The phone was stolen"}
    asked = post(staff, _address(office.alice), **chosen)
    assert ("Sign out of 1 browser" in asked, _are_in(browsers)) == (True, [True, True])
    assert "was signed out of 1 browser" in post(staff, _address(office.alice), **chosen, _confirmed="yes")
    assert _are_in(browsers) == [True, False]
    act = StaffAct.objects.get(act="end_sessions")
    assert (act.user, act.row_id, act.reason) == (office.stella, str(office.alice.pk), "The phone was stolen")
    assert "Safari on iPhone" in act.before["signed in"][0]


@pytest.mark.parametrize(
    "faulty", [{"browsers": []}, {"browsers": ["0" * 32]}, {"reason": ""}], ids=["none", "unknown", "no reason"]
)
def test_nobody_is_signed_out_without_a_choice_and_a_reason(
    staff: Client, office: Office, faulty: dict[str, object]
) -> None:
    browsers = _sign_in(office.alice)
    sent = {"browsers": _handles(staff, office.alice), "reason": "x", "_confirmed": "yes", **faulty}
    assert "Please correct what is marked below" in post(staff, _address(office.alice), **sent)
    assert (_are_in(browsers), StaffAct.objects.filter(act="end_sessions").count()) == ([True, True], 0)


def test_support_signs_out_customers_and_nobody_a_colleague(client: Client, office: Office) -> None:
    browsers = {"customer": _sign_in(office.alice), "colleague": _sign_in(office.stella)}
    found = {}
    for name in [role.name for role in roles.ROLES]:
        with undone():
            client.force_login(_colleague(name))
            for whose, person in (("customer", office.alice), ("colleague", office.stella)):
                sent = {"browsers": ["x"], "reason": "x", "_confirmed": "yes"}
                answers = (client.get(_address(person)), client.post(_address(person), sent))
                found[name, whose] = [answer.status_code for answer in answers]
    refused = [403, 403]
    assert found == {
        ("Pricing", "customer"): refused, ("Pricing", "colleague"): refused,
        ("Finance", "customer"): refused, ("Finance", "colleague"): refused,
        ("Support", "customer"): [200, 200], ("Support", "colleague"): refused,
    }  # fmt: skip
    assert _are_in(browsers["customer"] + browsers["colleague"]) == [True] * 4


def test_who_is_signed_in_nowhere_has_no_page_and_oneself_keeps_this_session(staff: Client, office: Office) -> None:
    assert "is not signed in anywhere else" in post(staff, _address(office.alice))
    assert "is not signed in anywhere else" in post(staff, _address(office.stella))
    assert staff.get("/admin/billing/user/0/sessions/").status_code == 404
