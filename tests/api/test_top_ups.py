import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.ledger import pools
from billing.purchases import topups
from billing.purchases.models import TopUp
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import NOW, make_account
from tests.payments.makers import make_card

PATH = "/accounts/acme/top-up-rules"
NEW = {"threshold": "100", "pack": "credits", "credits": "1000", "max_count": 3, "max_money": "500"}


def test_a_rule_is_saved_read_replaced_and_switched_off(alice, acme, shop):
    response = alice.post(PATH, NEW)
    assert response.status_code == 200, response.content
    answer = response.json()
    assert answer == {
        "pool": "main", "is_active": True, "threshold": "100", "pack": "credits", "credits": "1000",
        "payment_method": None, "max_count": 3, "max_money": "500", "failures": 0, "waits_until": None,
        "capped_until": None, "switched_off_at": None, "switched_off_reason": "", "changed_at": answer["changed_at"],
    }  # fmt: skip
    card = make_card(acme, now=timezone.now())
    replaced = alice.post(PATH, {**NEW, "credits": "2000", "payment_method": encode("pm", card.pk)}).json()
    assert (replaced["credits"], replaced["payment_method"]) == ("2000", encode("pm", card.pk))
    (listed,) = alice.get(PATH).json()["items"]
    assert {**listed, "changed_at": ""} == {**replaced, "changed_at": ""}
    off = alice.post(f"{PATH}/main/switch-off").json()
    assert (off["is_active"], off["switched_off_at"]) == (False, None)


def test_each_pool_has_a_rule_of_its_own(alice, acme, shop):
    pools.open_pool(account=acme, key="research", name="Research", now=NOW)
    alice.post(PATH, NEW)
    alice.post(PATH, {**NEW, "pool": "research"})
    assert [rule["pool"] for rule in alice.get(PATH).json()["items"]] == ["main", "research"]


def test_top_ups_are_listed(alice, acme, shop):
    alice.post(PATH, NEW)
    topups.run_due(now=timezone.now(), limit=10)
    (answer,) = alice.get("/accounts/acme/top-ups").json()["items"]
    top_up = TopUp.objects.get()
    assert answer == {
        "id": encode("top", top_up.pk), "pool": "main", "state": "succeeded",
        "invoice": encode("ivc", top_up.invoice_id), "total": "142.8", "currency": "USD",
        "created_at": answer["created_at"], "finished_at": answer["finished_at"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"pool": "nowhere"}, "unknown_pool", {}),
        ({"pack": "nothing"}, "pack_not_for_sale", {}),
        ({"credits": "1500"}, "amount_not_offered", {"step": "1000"}),
        ({"threshold": "1000"}, "threshold_too_high", {"credits": "1000"}),
        ({"max_money": "100"}, "cap_too_low", {"total": "142.8", "currency": "USD"}),
        ({"payment_method": "pm_0000000000009"}, "unknown_payment_method", {}),
    ],
)
def test_a_rule_that_could_not_work_is_refused(alice, shop, change, code, said):
    before = written()
    problem = assert_problem(alice.post(PATH, {**NEW, **change}), 422, code)
    assert said.items() <= problem.items()
    assert written() == before


def test_what_does_not_fit_is_refused_by_field(alice, shop):
    rows = [
        ("threshold", "0"), ("threshold", None), ("credits", "-1"), ("max_count", 0), ("max_count", 1001),
        ("max_count", "x"), ("max_money", "0"), ("max_money", "1.0001"), ("payment_method", "x"), ("hue", "red"),
    ]  # fmt: skip
    before = written()
    answers = [((field, value), alice.post(PATH, {**NEW, field: value}), field) for field, value in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before


def test_a_rule_needs_a_card_of_its_own_account(platform, alice, shop):
    other = make_account("other")
    card = make_card(make_account("third"), now=timezone.now())
    before = written()
    assert_problem(platform.post(f"/accounts/{other.external_id}/top-up-rules", NEW), 422, "unknown_payment_method")
    assert_problem(alice.post(PATH, {**NEW, "payment_method": encode("pm", card.pk)}), 422, "unknown_payment_method")
    assert written() == before


def test_a_rule_that_is_not_there_cannot_be_switched_off(alice, shop):
    rows = ["main", "nowhere"]
    answers = [(pool, alice.post(f"{PATH}/{pool}/switch-off")) for pool in rows]
    assert not_refused(answers, 404, "not_found") == []
