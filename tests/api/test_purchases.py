import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.accounts.models import Account
from billing.invoicing.models import CreditNote
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant
from billing.payments.sandbox_models import SandboxCharge
from billing.purchases.models import Purchase
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import NOW, make_account, make_pack
from tests.payments import makers
from tests.payments.makers import make_card

PATH = "/accounts/acme/purchases"
NEW = {"pack": "credits", "credits": "1000"}


def test_offers_show_tiers_savings_and_what_an_amount_costs(alice, shop):
    make_pack("boost", target_segments=["startup"])
    (offer,) = alice.get("/accounts/acme/offers", credits="10000").json()["items"]
    assert offer == {
        "pack": "credits", "name": "Credits", "description": "", "currency": "USD", "min_credits": "1000",
        "max_credits": "1000000", "step_credits": "1000", "validity_days": 365, "prices_include_tax": False,
        "tiers": [
            {"from_credits": "1000", "unit_price": "0.12", "saving_percent": 0},
            {"from_credits": "10000", "unit_price": "0.1", "saving_percent": 16},
            {"from_credits": "100000", "unit_price": "0.07", "saving_percent": 41},
        ],
        "quote": {
            "credits": "10000", "unit_price": "0.1", "saving_percent": 16, "subtotal": "1000", "tax_name": "VAT",
            "tax_percent": "19", "tax_total": "190", "tax_note": "", "total": "1190",
        },
    }  # fmt: skip


@pytest.mark.parametrize("query", [{}, {"credits": "1500"}])
def test_an_amount_that_is_not_sold_or_not_asked_about_has_no_quote(alice, shop, query):
    (offer,) = alice.get("/accounts/acme/offers", **query).json()["items"]
    assert offer["quote"] is None


def test_credits_are_bought_with_the_default_card(alice, acme, shop):
    response = alice.post(PATH, {**NEW, "reference": "order-7"})
    assert response.status_code == 201, response.content
    answer = response.json()
    purchase = Purchase.objects.get()
    payment = answer.pop("payment")
    assert answer == {
        "id": encode("pur", purchase.pk), "account": encode("acc", acme.pk), "pack": "credits", "pool": "main",
        "credits": "1000", "state": "paid", "invoice": encode("ivc", purchase.invoice_id), "total": "142.8",
        "currency": "USD",
        "created_at": answer["created_at"],
    }  # fmt: skip
    assert (payment["state"], payment["amount"], payment["off_session"]) == ("succeeded", "142.8", False)
    assert alice.get(f"/purchases/{answer['id']}").json() == {**answer, "payment": payment}
    assert alice.get(PATH).json()["items"] == [{**answer, "payment": payment}]
    assert alice.get("/accounts/acme/balance").json()["available"] == "1000"


def test_a_repeat_buys_nothing_more(alice, shop):
    first = alice.post(PATH, {**NEW, "reference": "order-7"})
    again = alice.post(PATH, {**NEW, "credits": "1000.00", "reference": "order-7"})
    assert again.json() == first.json()
    alice.post(PATH, NEW, key="k")
    assert alice.post(PATH, NEW, key="k")["Idempotency-Replayed"] == "true"
    assert SandboxCharge.objects.count() == Purchase.objects.count() == 2


def test_a_reference_of_another_purchase_is_refused(alice, shop):
    alice.post(PATH, {**NEW, "reference": "order-7"})
    before = written()
    assert_problem(alice.post(PATH, {**NEW, "credits": "2000", "reference": "order-7"}), 409, "reference_conflict")
    assert written() == before


def test_references_of_two_accounts_do_not_meet(platform, shop):
    other = make_account("other")
    make_card(other, now=timezone.now())
    for account in ("acme", "other"):
        assert platform.post(f"/accounts/{account}/purchases", {**NEW, "reference": "1"}).status_code == 201
    assert Purchase.objects.count() == 2


def test_a_chosen_card_and_pool_are_used(alice, acme, shop):
    pools.open_pool(account=acme, key="research", name="Research", now=NOW)
    card = make_card(acme, makers.DECLINE, now=timezone.now())
    answer = alice.post(PATH, {**NEW, "pool": "research", "payment_method": encode("pm", card.pk)}).json()
    assert (answer["state"], answer["pool"], answer["payment"]["failure_code"]) == (
        "failed", "research", "card_declined",
    )  # fmt: skip
    assert not CreditGrant.objects.exists()


def test_a_customer_who_must_confirm_is_told_where(alice, acme, shop):
    card = make_card(acme, makers.ACTION, now=timezone.now())
    answer = alice.post(
        PATH, {**NEW, "payment_method": encode("pm", card.pk), "return_url": "https://acme.example/back"}
    ).json()
    assert answer["state"] == answer["payment"]["state"] == "requires_action"
    assert answer["payment"]["action_url"].startswith("http")
    assert SandboxCharge.objects.get().return_url == "https://acme.example/back"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"pack": "nothing"}, "pack_not_for_sale"), ({"pool": "nowhere"}, "unknown_pool"),
        ({"credits": "1500"}, "amount_not_offered"), ({"payment_method": "pm_0000000000009"}, "unknown_payment_method"),
    ],
)  # fmt: skip
def test_what_is_not_there_cannot_be_bought(alice, shop, change, code):
    before = written()
    problem = assert_problem(alice.post(PATH, {**NEW, **change}), 422, code)
    if code == "amount_not_offered":
        assert (problem["minimum"], problem["maximum"], problem["step"]) == ("1000", "1000000", "1000")
    assert written() == before


def test_a_strangers_card_is_unknown(alice, shop):
    card = make_card(make_account("other"), now=timezone.now())
    before = written()
    asked = {**NEW, "payment_method": encode("pm", card.pk)}
    assert_problem(alice.post(PATH, asked), 422, "unknown_payment_method")
    assert written() == before


def test_nothing_is_sold_before_there_is_an_issuer(alice, acme):
    make_pack()
    make_card(acme, now=timezone.now())
    before = written()
    assert_problem(alice.post(PATH, NEW), 409, "no_issuer")
    assert written() == before


def test_what_does_not_fit_is_refused_by_field(alice, shop):
    rows = [
        ("pack", None), ("pack", 5), ("credits", "0"), ("credits", "-1"), ("credits", "x"), ("pool", ""),
        ("payment_method", "acc_1"), ("payment_method", 5), ("return_url", "javascript:alert(1)"),
        ("return_url", "/back"), ("reference", ""), ("hue", "red"),
    ]  # fmt: skip
    before = written()
    answers = [((field, value), alice.post(PATH, {**NEW, field: value}), field) for field, value in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before


def test_an_unknown_purchase_is_not_found(alice, shop):
    rows = ["/purchases/pur_0000000000009", "/purchases/acc_1", "/purchases/x"]
    answers = [(path, alice.get(path)) for path in rows]
    assert not_refused(answers, 404, "not_found") == []


@pytest.fixture
def bought(alice, shop) -> str:
    """The id of a purchase of 1,000 credits for 142.80."""
    answer = alice.post(PATH, NEW).json()
    return str(answer["id"])


def test_a_purchase_is_refunded_as_far_as_it_is_left(platform, acme, bought):
    posting.spend(pool_id=pools.get_main_pool(acme.pk).pk, credits=400, reference="s", now=timezone.now())
    response = platform.post(f"/purchases/{bought}/refund", {"reason": "Not needed", "reference": "r1"})
    assert response.status_code == 201, response.content
    answer = response.json()
    assert answer == {
        "credit_note": "CN-000001", "invoice": encode("ivc", Purchase.objects.get().invoice_id), "credits": "600",
        "total": "85.68", "currency": "USD", "reason": "Not needed", "state": "succeeded",
        "created_at": answer["created_at"],
    }  # fmt: skip
    assert platform.post(f"/purchases/{bought}/refund", {"reason": "Not needed", "reference": "r1"}).json() == answer
    assert_problem(platform.post(f"/purchases/{bought}/refund", {"reason": "Again"}), 409, "nothing_to_refund")


def test_a_refund_that_cannot_be_changes_nothing(platform, bought):
    rows = [
        ({"reason": "Too much", "credits": "1001"}, 409, "not_enough_left"),
        ({"credits": "1"}, 400, "invalid_request"),
        ({"reason": "Zero", "credits": "0"}, 400, "invalid_request"),
    ]
    before = written()
    answers = [
        ((body, status, code), platform.post(f"/purchases/{bought}/refund", body), status, code)
        for body, status, code in rows
    ]
    assert not_refused(answers) == []
    assert written() == before


def test_what_was_never_paid_is_not_refunded(platform, acme, shop):
    card = make_card(acme, makers.DECLINE, now=timezone.now())
    bought = platform.post(PATH, {**NEW, "payment_method": encode("pm", card.pk)}).json()["id"]
    assert_problem(platform.post(f"/purchases/{bought}/refund", {"reason": "x"}), 409, "not_refundable")


def test_a_reference_names_one_refund(platform, bought):
    asked = {"reason": "Some", "credits": "10", "reference": "r1"}
    assert platform.post(f"/purchases/{bought}/refund", asked).status_code == 201
    problem = platform.post(f"/purchases/{bought}/refund", {**asked, "credits": "11"})
    assert_problem(problem, 409, "reference_conflict")


def test_a_refunds_reference_is_its_accounts_own(platform, shop, bought):
    other = make_account("other")
    make_card(other, now=timezone.now())
    theirs = platform.post("/accounts/other/purchases", NEW).json()["id"]
    # As long as a reference may be.
    asked = {"reason": "Some", "credits": "10", "reference": "r" * 150}
    answers = [platform.post(f"/purchases/{purchase}/refund", asked) for purchase in (bought, theirs)]
    assert [answer.status_code for answer in answers] == [201, 201], [answer.content for answer in answers]
    assert {note.account for note in CreditNote.objects.all()} == set(Account.objects.all())


def test_a_reference_that_another_purchase_of_the_account_is_refunded_under_is_taken(platform, acme, bought):
    asked = {"reason": "Some", "credits": "10", "reference": "r1"}
    assert platform.post(f"/purchases/{bought}/refund", asked).status_code == 201
    second = platform.post(PATH, {**NEW, "reference": "second"}).json()["id"]
    before = written()
    assert_problem(platform.post(f"/purchases/{second}/refund", asked), 409, "reference_conflict")
    assert written() == before
