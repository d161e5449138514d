"""Staff pages that grant and revoke credits."""

import uuid
from datetime import timedelta
from decimal import Decimal

from django.test import Client

from billing.accounts.models import StaffAct, User
from billing.ledger import holds, pools
from billing.ledger.models import CreditGrant, CreditPool, Posting
from tests.admin.conftest import Office, find_unrefused, post, text_of

ADD = "/admin/billing/creditgrant/add/"


def _fields(office: Office, **changes: object) -> dict[str, object]:
    given = {
        "token": str(uuid.uuid4()), "account": office.account.pk, "pool": "main", "kind": "goodwill", "amount": "250.5",
        "reason": "Sorry for the outage", "priority": "50", "cost_basis": "0", "currency": "", "meter": "",
        "expires_at_0": "", "expires_at_1": "", "effective_at_0": "", "effective_at_1": "",
    }  # fmt: skip
    return {**given, **changes}


def _balance(office: Office) -> Decimal:
    return CreditPool.objects.get(pk=office.pool.pk).balance


def test_granting_asks_for_confirmation_first(staff: Client, office: Office) -> None:
    page = post(staff, ADD, **_fields(office))
    assert "Grant these credits?" in page
    assert "Grant 250.5 credits" in page
    assert "Northwind (northwind)" in page
    assert _balance(office) == 900


def test_a_confirmed_grant_is_posted_with_its_reason(staff: Client, office: Office) -> None:
    fields = _fields(office, _confirmed="Grant")
    assert "250.5 credits granted to Northwind" in post(staff, ADD, **fields)
    assert _balance(office) == Decimal("1150.5")
    made = Posting.objects.get(reference=f"staff:{fields['token']}")
    assert (made.note, made.actor) == ("Sorry for the outage", f"user:{office.stella.pk}")
    assert StaffAct.objects.get().user == office.stella


def test_sending_the_form_again_grants_once(staff: Client, office: Office) -> None:
    fields = _fields(office, _confirmed="Grant")
    for _ in range(3):
        assert "credits granted" in post(staff, ADD, **fields)
    assert _balance(office) == Decimal("1150.5")


def test_the_same_form_with_other_values_is_refused(staff: Client, office: Office) -> None:
    fields = _fields(office, _confirmed="Grant")
    post(staff, ADD, **fields)
    assert "sent before, with other values" in post(staff, ADD, **{**fields, "amount": "9"})
    assert _balance(office) == Decimal("1150.5")


def test_each_rendered_form_has_a_token_of_its_own(staff: Client, office: Office) -> None:
    assert staff.get(ADD).context["form"]["token"].value() != staff.get(ADD).context["form"]["token"].value()


def test_everything_about_a_lot_can_be_said(staff: Client, office: Office) -> None:
    ends = office.now + timedelta(days=30)
    fields = _fields(
        office, kind="purchase", priority="10", cost_basis="0.07", currency="EUR", meter=office.meter.pk,
        expires_at_0=f"{ends:%Y-%m-%d}", expires_at_1="12:00:00", _confirmed="Grant",
    )  # fmt: skip
    post(staff, ADD, **fields)
    lot = CreditGrant.objects.get(kind="purchase")
    assert (lot.priority, lot.cost_basis, lot.currency, lot.meter) == (10, Decimal("0.07"), "EUR", office.meter)
    assert lot.expires_at is not None
    assert lot.expires_at.date() == ends.date()


def test_going_back_to_change_something_grants_nothing(staff: Client, office: Office) -> None:
    page = post(staff, ADD, **_fields(office, _edit="Change"))
    assert 'value="Sorry for the outage"' in page
    assert "Go on" in page
    assert _balance(office) == 900


FAULTY_GRANTS = [
    ({"amount": "0"}, "greater than or equal to"),
    ({"amount": "-5"}, "greater than or equal to"),
    ({"amount": "NaN"}, "Enter a number"),
    ({"amount": "Infinity"}, "Enter a number"),
    ({"amount": "1e400"}, "no more than"),
    ({"amount": "0.0000001"}, "decimal places"),
    ({"amount": ""}, "This field is required"),
    ({"reason": ""}, "This field is required"),
    ({"reason": "x" * 201}, "at most 200 characters"),
    ({"kind": "overdraft"}, "not one of the available choices"),
    ({"kind": "transfer"}, "not one of the available choices"),
    ({"pool": "nope"}, "no pool of this key"),
    ({"account": "99999"}, "not one of the available choices"),
    ({"priority": "99999"}, "less than or equal to"),
    ({"cost_basis": "-1"}, "greater than or equal to"),
    ({"currency": "ZZZ"}, "ISO 4217"),
    # The fault of a field that is not shown: the form stands there again.
    ({"token": "x"}, "Go on"),
    ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "must expire after"),
]


def test_a_faulty_grant_is_refused(staff: Client, office: Office) -> None:
    good, two = _fields(office, _confirmed="Grant"), lambda: Posting.objects.count() == 2
    assert find_unrefused(staff, ADD, good, FAULTY_GRANTS, unchanged=two, never="credits granted") == []


def test_the_account_and_pool_can_be_given_by_the_address(staff: Client, office: Office) -> None:
    team = pools.open_pool(account=office.account, key="research", name="Research", now=office.now)
    assert 'value="research"' in text_of(staff, f"{ADD}?pool={team.pk}")
    assert "Northwind" in text_of(staff, f"{ADD}?account={office.account.pk}")
    assert staff.get(f"{ADD}?pool=x&account=y").status_code == 200


def test_staff_without_the_right_cannot_grant(client: Client, office: Office) -> None:
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    client.force_login(office.alice)
    assert client.get(ADD).status_code == 404
    assert client.post(ADD, _fields(office, _confirmed="Grant")).status_code == 404
    assert client.post(f"/admin/billing/creditgrant/{office.lot.pk}/revoke/").status_code == 404
    assert _balance(office) == 900


def test_revoking_takes_back_what_is_left(staff: Client, office: Office) -> None:
    address = f"/admin/billing/creditgrant/{office.lot.pk}/revoke/"
    assert "900" in text_of(staff, address)
    fields = {"token": str(uuid.uuid4()), "amount": "", "reason": "A mistake"}
    assert "900 credits taken back from Northwind" in post(staff, address, **fields)
    assert _balance(office) == 0
    assert "900 credits taken back" in post(staff, address, **fields)
    assert Posting.objects.filter(act="revoke").count() == 1


def test_revoking_part_leaves_the_rest(staff: Client, office: Office) -> None:
    address = f"/admin/billing/creditgrant/{office.lot.pk}/revoke/"
    post(staff, address, token=uuid.uuid4(), amount="0.5", reason="Half a credit")
    assert _balance(office) == Decimal("899.5")


FAULTY_REVOCATIONS = [
    ({"amount": "900.01"}, "Fewer credits than that are left"),
    ({"amount": "880"}, "Fewer credits than that are left"),
    ({"reason": ""}, "required"),
]


def test_a_faulty_revocation_is_refused(staff: Client, office: Office) -> None:
    holds.place(pool_id=office.pool.pk, amount=Decimal(30), reference="job", now=office.now)
    address = f"/admin/billing/creditgrant/{office.lot.pk}/revoke/"
    good, same = {"token": str(uuid.uuid4()), "amount": "5", "reason": "x"}, lambda: _balance(office) == 900
    assert find_unrefused(staff, address, good, FAULTY_REVOCATIONS, unchanged=same) == []


def test_a_lot_that_does_not_exist_is_404(staff: Client, office: Office) -> None:
    assert staff.get("/admin/billing/creditgrant/99999/revoke/").status_code == 404


def test_lots_can_be_listed_by_account_and_pool(staff: Client, office: Office) -> None:
    for query in (f"pool__account={office.account.pk}", f"pool={office.pool.pk}"):
        assert "1 credit grant" in text_of(staff, f"/admin/billing/creditgrant/?{query}")
        assert "2 postings" in text_of(staff, f"/admin/billing/posting/?{query}")
    assert "0 credit grants" in text_of(staff, "/admin/billing/creditgrant/?pool=99999")


def test_a_lot_shows_its_counters(staff: Client, office: Office) -> None:
    page = text_of(staff, f"/admin/billing/creditgrant/{office.lot.pk}/change/")
    assert "1,000" in page
    assert "revoke/" in page
