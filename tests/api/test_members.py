import pytest

from billing.accounts import members
from billing.accounts.models import Member
from billing.ledger.models import MemberLimit
from tests.api.asking import all_but, assert_problem
from tests.factories import NOW


@pytest.fixture
def bob(acme) -> Member:
    return Member.objects.get(account=acme, role="member")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [("GET", "/accounts/acme/members", "read"), ("PATCH", "/accounts/acme/members/mem_1", "accounts:write")],
)
def test_a_key_and_its_scope_are_needed(anonymous, scoped, acme, method, path, scope):
    assert_problem(anonymous.send(method, path, b"{}"), 401, "authentication_required")
    assert_problem(scoped(all_but(scope)).send(method, path, b"{}"), 403, "missing_scope")


def test_a_stranger_sees_no_members_and_limits_none(mallory, bob):
    assert_problem(mallory.get("/accounts/acme/members"), 404, "not_found")
    for account in ("acme", "evil"):
        response = mallory.patch(f"/accounts/{account}/members/mem_{bob.pk}", {"spend_limit": "0"})
        assert_problem(response, 404, "not_found")
    assert not MemberLimit.objects.exists()


def test_members_are_listed_with_role_and_limit(alice, bob):
    items = alice.get("/accounts/acme/members").json()["items"]
    assert [(item["email"], item["role"], item["spend_limit"]) for item in items] == [
        ("bob@example.com", "member", None),
        ("alice@example.com", "owner", None),
    ]
    assert items[0]["id"] == f"mem_{bob.pk}"


def test_a_spend_limit_is_set_and_lifted(alice, bob):
    path = f"/accounts/acme/members/mem_{bob.pk}"
    assert alice.patch(path, {"spend_limit": "50.5"}).json()["spend_limit"] == "50.5"
    assert alice.patch(path, {"spend_limit": 0}).json()["spend_limit"] == "0"
    assert alice.patch(path, {"spend_limit": None}).json()["spend_limit"] is None
    assert not MemberLimit.objects.exists()


@pytest.mark.parametrize(("field", "value"), [("spend_limit", "-1"), ("spend_limit", "x"), ("role", "owner")])
def test_a_malformed_limit_is_refused(alice, bob, field, value):
    response = alice.patch(f"/accounts/acme/members/mem_{bob.pk}", {"spend_limit": "1", field: value})
    assert_problem(response, 400, "invalid_request", field)
    assert not MemberLimit.objects.exists()


def test_a_removed_or_unknown_member_is_not_found(alice, bob):
    members.remove(member_id=bob.pk, now=NOW)
    for member in (f"mem_{bob.pk}", "mem_999999", "bob", "%00"):
        response = alice.patch(f"/accounts/acme/members/{member}", {"spend_limit": "1"})
        assert_problem(response, 404, "not_found")
