import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.payments.models import PaymentMethod
from billing.payments.sandbox_models import SandboxCard
from tests.api.asking import assert_problem, not_refused
from tests.factories import make_account
from tests.payments.makers import make_card

PATH = "/accounts/acme/payment-methods"
CARD = {"number": "4242 4242 4242 4242", "exp_month": 12, "exp_year": timezone.now().year + 3, "cvc": "123"}


def kept() -> list[tuple[int, bool, object]]:
    return list(PaymentMethod.objects.order_by("pk").values_list("pk", "is_default", "removed_at"))


@pytest.fixture
def card(acme) -> PaymentMethod:
    return make_card(acme, now=timezone.now())


def test_a_card_is_kept_without_its_number(alice):
    answer = alice.post(PATH, CARD)
    assert answer.status_code == 201, answer.content
    method = PaymentMethod.objects.get()
    assert answer.json() == {
        "id": encode("pm", method.pk),
        "gateway": "sandbox",
        "brand": "Visa",
        "last4": "4242",
        "exp_month": 12,
        "exp_year": CARD["exp_year"],
        "is_default": True,
        "created_at": answer.json()["created_at"],
    }
    assert alice.get(PATH).json() == {"items": [answer.json()]}
    assert "4242424242424242" not in str([vars(row) for row in (method, SandboxCard.objects.get())])


def test_the_same_idempotency_key_adds_one_card(alice):
    assert alice.post(PATH, CARD, key="k").json() == alice.post(PATH, CARD, key="k").json()
    assert PaymentMethod.objects.count() == 1


def test_a_card_with_wrong_details_is_refused_with_the_field(alice):
    rows = [
        ({"number": "4242424242424241"}, "number"),
        ({"number": "4000056655665556"}, "number"),
        ({"number": "x"}, "number"),
        ({"number": "\u0664242424242424242"}, "number"),
        ({"exp_year": timezone.now().year - 1}, "exp_year"),
        ({"exp_year": timezone.now().year + 40}, "exp_year"),
        ({"exp_month": 13}, "exp_month"),
        ({"cvc": "12"}, "cvc"),
        ({"cvc": "1234"}, "cvc"),
        ({"cvc": "12a"}, "cvc"),
        ({"number": "378282246310005"}, "cvc"),
        ({"brand": "Visa"}, "brand"),
    ]
    answers = [((changed, field), alice.post(PATH, {**CARD, **changed}), field) for changed, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert not PaymentMethod.objects.exists()
    assert not SandboxCard.objects.exists()


def test_the_first_card_is_the_default_until_another_is_made_it(alice, card):
    second = alice.post(PATH, CARD).json()
    assert second["is_default"] is False
    third = alice.post(PATH, {**CARD, "make_default": True}).json()
    assert [item["id"] for item in alice.get(PATH).json()["items"]] == [
        third["id"],
        second["id"],
        encode("pm", card.pk),
    ]
    answer = alice.post(f"{PATH}/{second['id']}/default")
    assert (answer.status_code, answer.json()["is_default"]) == (200, True)
    assert [item["is_default"] for item in alice.get(PATH).json()["items"]] == [True, False, False]


def test_a_removed_card_is_gone_and_no_other_becomes_the_default(alice, card):
    other = alice.post(PATH, CARD).json()
    for _ in range(2):
        answer = alice.send("DELETE", f"{PATH}/{encode('pm', card.pk)}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert alice.get(PATH).json()["items"] == [other]
    assert_problem(alice.post(f"{PATH}/{encode('pm', card.pk)}/default"), 404, "not_found")
    assert alice.post(PATH, CARD).json()["is_default"] is True


def test_a_card_that_is_not_there_is_not_found(alice, card):
    rows = ["pm_0", "pm_0000000000009", "inv_1", "x"]
    answers = [
        answer
        for method in rows
        for answer in (
            (method, alice.send("DELETE", f"{PATH}/{method}")),
            (method, alice.post(f"{PATH}/{method}/default")),
        )
    ]
    assert not_refused(answers, 404, "not_found") == []


def test_an_account_has_at_most_twenty_cards(alice, acme, card):
    rows = [
        PaymentMethod(
            account=acme, gateway="sandbox", gateway_reference=f"c{n}", brand="Visa", last4="4242", exp_month=1,
            exp_year=2030, created_at=timezone.now(),
        )
        for n in range(19)
    ]  # fmt: skip
    PaymentMethod.objects.bulk_create(rows)
    assert_problem(alice.post(PATH, CARD), 409, "too_many_methods")
    assert PaymentMethod.objects.count() == 20


def test_without_a_gateway_no_card_is_kept(alice, settings):
    settings.FLORIN_GATEWAY = ""
    assert_problem(alice.post(PATH, CARD), 409, "no_gateway")
    assert not PaymentMethod.objects.exists()


def test_a_silent_gateway_is_said_to_be(alice, monkeypatch):
    from billing.payments.gateways import contract, sandbox

    def silence(**_):
        raise contract.GatewayUnavailable

    monkeypatch.setattr(sandbox, "store_card", silence)
    answer = alice.post(PATH, CARD)
    assert_problem(answer, 503, "gateway_unavailable")
    assert answer["Retry-After"] == "10"
    assert not PaymentMethod.objects.exists()


def test_another_method_is_refused(alice, card):
    assert_problem(alice.get(f"{PATH}/{encode('pm', card.pk)}"), 405, "method_not_allowed")


def test_cards_of_other_accounts_do_not_count(alice, acme):
    make_card(make_account("other"), now=timezone.now())
    assert alice.post(PATH, CARD).json()["is_default"] is True
