"""Staff put things right: adjust, reverse, refund; once, with a reason, within the day's limit."""

import uuid
from decimal import Decimal

import pytest
from django.test import Client

from billing.accounts.models import Approval, StaffAct, User
from billing.invoicing.models import CreditNote, InvoiceLine
from billing.ledger import holds, posting
from billing.ledger.models import CreditGrant, CreditPool, Posting
from billing.metering.models import EventReversal
from billing.payments.models import Refund
from tests.admin.conftest import Office, find_unrefused, post, text_of
from tests.admin.test_approvals import _staff
from tests.factories import give_credits, make_issuer, make_pack, make_rate_card
from tests.metering.makers import event, send_one
from tests.purchases.makers import buy
from tests.undoing import undone

pytestmark = pytest.mark.django_db


def _balance(office: Office) -> Decimal:
    return CreditPool.objects.get(pk=office.pool.pk).balance


def _use(office: Office, event_id: str, **fields: str) -> None:
    named = {"account": office.account.external_id, "meter": office.meter.key, **fields}
    used = event(10, at=office.now, id=event_id, **named)
    assert send_one(used, now=office.now).status == "accepted"


def _sent(**fields: object) -> dict[str, object]:
    return {"token": str(uuid.uuid4()), "reason": "A mistake", **fields}


# --- Adjust ---------------------------------------------------------------------------------------------------------


def _adjust(office: Office) -> str:
    return f"/admin/billing/creditpool/{office.pool.pk}/adjust/"


def test_an_adjustment_is_confirmed_first(staff: Client, office: Office) -> None:
    page = post(staff, _adjust(office), **_sent(change="-100"))
    assert "Adjust this balance?" in page
    assert "<td>800</td>" in page
    assert _balance(office) == 900
    assert "Go on" in post(staff, _adjust(office), **_sent(change="-100", _edit="Change"))


def test_a_balance_is_adjusted_up_and_down_once(staff: Client, office: Office) -> None:
    for change, balance in (("50.5", "950.5"), ("-900", "0"), ("-0.000001", "899.999999")):
        with undone():
            fields = _sent(change=change, _confirmed="x")
            for _ in range(3):
                assert "The balance is adjusted" in post(staff, _adjust(office), **fields)
            assert _balance(office) == Decimal(balance)
            made = Posting.objects.get(reference__startswith=f"staff:{fields['token']}")
            assert (made.note, made.actor) == ("A mistake", f"user:{office.stella.pk}")
            act = StaffAct.objects.get()
            assert (act.act, act.account, act.reason) == ("adjust", office.account, "A mistake")
            assert Decimal(act.after["balance"]) == Decimal(balance)


def test_given_credits_go_before_paid_ones(staff: Client, office: Office) -> None:
    paid = give_credits(office.account, "500", now=office.now, kind="purchase", cost_basis=Decimal("0.1"))
    post(staff, _adjust(office), **_sent(change="-1000", _confirmed="x"))
    office.lot.refresh_from_db()
    lot = CreditGrant.objects.get(entries__posting=paid)
    assert (office.lot.remaining, lot.remaining) == (0, 400)


def test_more_than_is_there_and_not_held_is_not_taken(staff: Client, office: Office) -> None:
    holds.place(pool_id=office.pool.pk, amount=Decimal(30), reference="job", now=office.now)
    faulty = [({"change": change}, "fewer credits than that which are not held") for change in ("-900.000001", "-880")]
    same = lambda: _balance(office) == 900 and not Approval.objects.exists()  # noqa: E731
    assert find_unrefused(staff, _adjust(office), _sent(_confirmed="x"), faulty, unchanged=same) == []


def test_a_faulty_adjustment_is_refused(staff: Client, office: Office) -> None:
    faulty = [({"change": "0"}, "changes nothing"), ({"change": ""}, "required"), ({"change": "NaN"}, "Enter a number")]
    good, same = _sent(_confirmed="x"), lambda: _balance(office) == 900
    assert find_unrefused(staff, _adjust(office), good, faulty, unchanged=same) == []


# --- Reverse a spend ------------------------------------------------------------------------------------------------


def _spend(office: Office, reference: str = "job:1") -> Posting:
    return posting.spend(pool_id=office.pool.pk, credits=Decimal(200), reference=reference, now=office.now)


def test_a_spend_is_reversed_once(staff: Client, office: Office) -> None:
    address = f"/admin/billing/posting/{_spend(office).pk}/reverse/"
    assert address in text_of(staff, address.replace("reverse", "change"))
    assert "Give 200 credits back" in text_of(staff, address)
    fields = _sent()
    for _ in range(2):
        assert "back in the lots" in post(staff, address, **fields)
    assert "reversed already" in post(staff, address, **_sent())
    assert _balance(office) == 900
    assert [act.act for act in StaffAct.objects.order_by("pk")] == ["reverse", "refused"]


def test_metered_usage_and_grants_are_not_reversed_as_postings(staff: Client, office: Office) -> None:
    for row in Posting.objects.all():
        page = post(staff, f"/admin/billing/posting/{row.pk}/reverse/", **_sent())
        assert "Only a spend can be reversed here" in page
    assert _balance(office) == 900
    assert not Approval.objects.exists()


# --- Reverse a usage event ------------------------------------------------------------------------------------------


def test_a_usage_event_is_reversed_and_stays_as_a_fact(staff: Client, office: Office) -> None:
    make_rate_card({office.meter: "5"})
    _use(office, "odd/id 1")
    assert _balance(office) == 850
    listed = f"/admin/billing/dailyusage/events/?account={office.account.pk}"
    address = f"/admin/billing/dailyusage/events/{office.account.pk}/odd/id%201/reverse/"
    assert address in text_of(staff, listed)
    assert "10 image (Images)" in text_of(staff, address)
    fields = _sent()
    for _ in range(2):
        assert "50 credits are back" in post(staff, address, **fields)
    assert "reversed already" in post(staff, address, **_sent())
    assert _balance(office) == 900
    reversal = EventReversal.objects.get()
    assert (reversal.reason, reversal.actor) == ("A mistake", f"user:{office.stella.pk}")
    act = StaffAct.objects.exclude(act="refused").get()
    assert (act.act, act.account, act.after["credits"]) == ("unuse", office.account, "50")
    assert address not in text_of(staff, listed)


def test_of_two_events_of_one_id_the_one_whose_source_is_named_is_reversed(staff: Client, office: Office) -> None:
    make_rate_card({office.meter: "5"})
    _use(office, "e1")
    _use(office, "e1", source="/a?b&c")
    listed = f"/admin/billing/dailyusage/events/?account={office.account.pk}&event_id=e1"
    address = f"/admin/billing/dailyusage/events/{office.account.pk}/e1/reverse/"
    named = f"{address}?source=%2Fa%3Fb%26c"
    page = text_of(staff, listed)
    assert (address + '"' in page, named in page, "from /a?b&amp;c" in page) == (True, True, True)
    assert "50 credits are back" in post(staff, named, **_sent())
    assert (EventReversal.objects.get().source, named in text_of(staff, listed)) == ("/a?b&c", False)
    assert staff.get(f"{address}?source=/nobody").status_code == 404


def test_an_event_that_does_not_exist_is_not_found(staff: Client, office: Office) -> None:
    assert staff.get(f"/admin/billing/dailyusage/events/{office.account.pk}/nope/reverse/").status_code == 404


# --- Refund a purchase ----------------------------------------------------------------------------------------------


@pytest.fixture
def bought(office: Office) -> InvoiceLine:
    """1,000 credits bought for 100.00, tax free."""
    make_issuer()
    pack = make_pack(now=office.now)
    return buy(office.pool, pack, now=office.now).invoice.lines.get()


def _refund(line: InvoiceLine) -> str:
    return f"/admin/billing/invoice/{line.invoice_id}/refund/{line.pk}/"


def test_a_refund_shows_what_goes_back_and_does_it_once(staff: Client, office: Office, bought: InvoiceLine) -> None:
    assert _refund(bought) in text_of(staff, f"/admin/billing/invoice/{bought.invoice_id}/change/")
    before = _balance(office)
    fields = _sent(credits="100")
    assert "Refund this?" in post(staff, _refund(bought), **fields)
    assert _balance(office) == before
    for _ in range(3):
        assert "The refund is on its way" in post(staff, _refund(bought), **fields, _confirmed="x")
    assert _balance(office) == before - 100
    refund = Refund.objects.get()
    assert (refund.state, refund.credit_note.reason) == ("succeeded", "A mistake")
    act = StaffAct.objects.get()
    assert (act.act, act.model, act.account) == ("refund", "invoice", office.account)


def test_a_refund_over_the_limit_waits_for_a_second_person(
    staff: Client, office: Office, bought: InvoiceLine, settings
) -> None:
    settings.FLORIN_APPROVAL_MONEY = 5
    before = _balance(office)
    assert "it will wait" in post(staff, _refund(bought), **_sent(credits=""))
    assert "A second person must approve" in post(staff, _refund(bought), **_sent(credits=""), _confirmed="x")
    assert _balance(office) == before
    assert not CreditNote.objects.exists()
    waiting = Approval.objects.get()
    assert waiting.currency == bought.invoice.currency
    staff.force_login(_staff("fiona", "decide_approval", "view_approval"))
    assert "Approved and done" in post(staff, f"/admin/billing/approval/{waiting.pk}/approve/", note="")
    assert _balance(office) == before - 1000
    assert Refund.objects.get().state == "succeeded"
    assert [act.act for act in StaffAct.objects.order_by("pk")] == ["ask", "approve", "refund"]


def test_more_than_is_left_is_not_refunded(staff: Client, office: Office, bought: InvoiceLine) -> None:
    page = post(staff, _refund(bought), **_sent(credits="1001"), _confirmed="x")
    assert "At most what is left and not held can be taken back" in page
    assert "Nothing of this can be refunded" not in page
    assert not Refund.objects.exists()
    assert not Approval.objects.exists()


# --- Who may --------------------------------------------------------------------------------------------------------


def test_without_the_right_nothing_is_put_right(client: Client, office: Office, bought: InvoiceLine) -> None:
    make_rate_card({office.meter: "5"})
    _use(office, "e1")
    addresses = [
        _adjust(office), f"/admin/billing/posting/{_spend(office).pk}/reverse/",
        f"/admin/billing/dailyusage/events/{office.account.pk}/e1/reverse/", _refund(bought),
    ]  # fmt: skip
    before = _balance(office)
    for address in addresses:
        assert "/admin/login/" in client.post(address, _sent(change="-1", _confirmed="x"))["Location"]
    client.force_login(_staff("sam", "view_posting", "view_creditpool", "view_invoice", "view_usageevent"))
    for address in addresses:
        assert client.get(address).status_code == 403
        assert client.post(address, _sent(change="-1", _confirmed="x")).status_code == 403
    assert _balance(office) == before
    assert not Approval.objects.exists()
    assert User.objects.count() == 3


def test_rows_that_do_not_exist_are_not_found(staff: Client, office: Office) -> None:
    for page in ("creditpool/0/adjust", "posting/0/reverse", "invoice/0/refund/0"):
        assert staff.get(f"/admin/billing/{page}/").status_code == 404, page
