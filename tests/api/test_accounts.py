from datetime import date

from billing.accounts.ids import encode
from billing.accounts.models import Account, IdempotencyKey
from billing.invoicing.tax_models import TaxExemption
from billing.ledger.models import CreditPool
from tests.api.asking import Api, assert_problem, not_refused, written
from tests.factories import make_account, make_key

NEW = {
    "external_id": "org-42",
    "name": "Org 42",
    "billing_email": "billing@org.example",
    "country": "DE",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
}
CALLS = [("GET", "/accounts"), ("POST", "/accounts"), ("GET", "/accounts/acme"), ("PATCH", "/accounts/acme")]


def test_an_account_is_opened_with_its_main_pool(platform):
    response = platform.post("/accounts", NEW)
    assert response.status_code == 201, response.content
    account = Account.objects.get(external_id="org-42")
    assert response.json() == {
        **NEW,
        "id": encode("acc", account.pk),
        "region": "",
        "postal_code": "",
        "address": "",
        "tax_number": "",
        "tax_number_state": "none",
        "tax_exemptions": [],
        "segment_override": "",
        "created_at": response.json()["created_at"],
        "is_test": False,
        "parked_at": None,
        "paused_at": None,
    }
    pool = CreditPool.objects.get(account=account)
    assert (pool.key, pool.policy) == ("main", "block")


def test_the_exhaustion_policy_can_be_set_at_once(platform):
    response = platform.post("/accounts", {**NEW, "policy": "burst", "burst_limit": "500.5"})
    assert response.status_code == 201
    pool = CreditPool.objects.get(account__external_id="org-42")
    assert (pool.policy, str(pool.burst_limit)) == ("burst", "500.500000")


def test_an_external_id_is_given_once(platform, acme):
    before = written()
    assert_problem(platform.post("/accounts", {**NEW, "external_id": "acme"}), 409, "external_id_taken")
    assert written() == before


def test_what_does_not_fit_is_refused_by_field(platform):
    rows = [
        ("external_id", "acc_7"),
        ("external_id", "no spaces"),
        ("external_id", "a/b"),
        ("name", ""),
        ("name", "x" * 201),
        ("billing_email", "nobody"),
        ("country", "de"),
        ("country", "DEU"),
        ("currency", "ZZZ"),
        ("time_zone", "Mars/Olympus"),
        ("policy", "yolo"),
        ("burst_limit", "-1"),
        ("colour", "red"),
    ]
    before = written()
    answers = [((field, value), platform.post("/accounts", {**NEW, field: value}), field) for field, value in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before


def test_what_is_required_must_be_there(platform):
    rows = ["external_id", "name", "billing_email", "country"]
    answers = [
        (field, platform.post("/accounts", {name: value for name, value in NEW.items() if name != field}), field)
        for field in rows
    ]
    assert not_refused(answers, 400, "invalid_request") == []


def test_a_repeat_with_the_same_key_opens_nothing_more(platform):
    first = platform.post("/accounts", NEW, key="k1")
    again = platform.post("/accounts", NEW, key="k1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first
    assert Account.objects.count() == 1


def test_another_body_under_the_same_key_is_refused(platform):
    platform.post("/accounts", NEW, key="k1")
    before = written()
    response = platform.post("/accounts", {**NEW, "external_id": "org-43"}, key="k1")
    assert_problem(response, 422, "idempotency_key_reused")
    assert written() == before


def test_a_refusal_that_may_pass_later_frees_the_key(platform, acme):
    assert platform.post("/accounts", {**NEW, "external_id": "acme"}, key="k1").status_code == 409
    assert not IdempotencyKey.objects.exists()


def test_a_lasting_refusal_is_kept_like_an_answer(platform):
    first = platform.post("/accounts", {}, key="k1")
    again = platform.post("/accounts", {}, key="k1")
    assert (first.status_code, again.status_code) == (400, 400)
    assert again["Idempotency-Replayed"] == "true"
    assert again["Content-Type"] == "application/problem+json"


def test_an_odd_idempotency_key_is_refused(platform):
    rows = ["", " ", "x" * 256, "schlüssel", "a b"]
    before = written()
    answers = [(key, platform.send("POST", "/accounts", b"{}", headers={"Idempotency-Key": key})) for key in rows]
    assert not_refused(answers, 400, "invalid_idempotency_key") == []
    assert written() == before


def test_an_account_is_found_by_either_id(platform, acme):
    ours, theirs = platform.get(f"/accounts/{encode('acc', acme.pk)}"), platform.get("/accounts/acme")
    assert ours.status_code == theirs.status_code == 200
    assert ours.json() == theirs.json()
    assert ours.json()["external_id"] == "acme"


def test_an_unknown_id_is_not_found(platform, acme):
    rows = [
        "nobody",
        "acc_0",
        "acc_01",
        "acc_0000000000009",
        "acc_99999999999999999999",
        "acc_-1",
        "acc_%D9%A1",
        "acc_%EF%BC%91",
        "a%0Ab",
    ]
    answers = [(reference, platform.get(f"/accounts/{reference}")) for reference in rows]
    assert not_refused(answers, 404, "not_found") == []


def test_a_customer_key_lists_its_own_account_only(alice, acme):
    make_account("other")
    assert [item["external_id"] for item in alice.get("/accounts").json()["items"]] == ["acme"]


def test_accounts_are_listed_newest_first_page_by_page(platform):
    for number in range(5):
        make_account(f"org-{number}")
    seen, cursor = [], None
    while True:
        page = platform.get("/accounts", limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [item["external_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ["org-4", "org-3", "org-2", "org-1", "org-0"]


def test_filters_narrow_the_list(platform):
    rows = [
        ({"external_id": "acme"}, ["acme"]),
        ({"search": "CME"}, ["acme"]),
        ({"search": "billing@beta"}, ["beta"]),
        ({"country": "FR"}, ["beta"]),
        ({"created_from": "2025-03-01T12:00:00Z"}, ["beta", "acme"]),
        ({"created_to": "2025-03-01T12:00:00Z"}, []),
    ]
    make_account("acme")
    make_account("beta", country="FR")
    assert [
        (query, [item["external_id"] for item in platform.get("/accounts", **query).json()["items"]])
        for query, _ in rows
    ] == rows


def test_a_malformed_query_is_refused_by_parameter(platform):
    rows = [
        ({"limit": "abc"}, "limit"),
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "\u0661"}, "limit"),
        ({"created_from": "2026-01-01T00:00:00"}, "created_from"),
        ({"created_from": "2026-01-02T00:00:00Z", "created_to": "2026-01-01T00:00:00Z"}, "created_to"),
        ({"lmit": "5"}, "lmit"),
        ({"limit": ["1", "2"]}, "limit"),
    ]
    answers = [((query, field), platform.get("/accounts", **query), field) for query, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []


def test_a_cursor_that_is_not_ours_is_refused(platform):
    rows = ["x", "AAAA", "W10", "WzEsMl0", "WyJhIl0", "Wy0xXQ", "WzFlNDAwXQ", "é", "W" * 900]
    answers = [(cursor, platform.get("/accounts", cursor=cursor)) for cursor in rows]
    assert not_refused(answers, 400, "invalid_cursor") == []


def test_details_can_be_changed(platform, acme):
    response = platform.patch("/accounts/acme", {"name": "Acme SE", "country": "FR", "tax_number": "FR123"})
    assert response.status_code == 200
    assert (response.json()["name"], response.json()["country"]) == ("Acme SE", "FR")
    acme.refresh_from_db()
    assert (acme.name, acme.country, acme.tax_number) == ("Acme SE", "FR", "FR123")


def test_what_stays_for_ever_cannot_be_changed(platform, acme):
    rows = ["external_id", "currency", "policy", "parked_at", "paused_at"]
    answers = [(field, platform.patch("/accounts/acme", {field: "EUR"}), field) for field in rows]
    assert not_refused(answers, 400, "invalid_request") == []
    acme.refresh_from_db()
    assert (acme.external_id, acme.currency) == ("acme", "USD")


def test_reading_an_account_with_its_own_key_costs_two_queries(acme, django_assert_num_queries):
    _, secret = make_key(acme)
    api = Api(secret)
    api.get("/accounts/acme")
    with django_assert_num_queries(2):
        assert api.get("/accounts/acme").status_code == 200


def test_what_is_known_of_the_tax_number_is_told(platform, acme):
    platform.patch("/accounts/acme", {"country": "FR", "tax_number": "FR12"})
    assert platform.get("/accounts/acme").json()["tax_number_state"] == "malformed"
    platform.patch("/accounts/acme", {"tax_number": "FR40303265045", "postal_code": "75002", "region": "IDF"})
    found = platform.get("/accounts/acme").json()
    assert (found["tax_number_state"], found["postal_code"], found["region"]) == ("unchecked", "75002", "IDF")


def test_certificates_are_listed_until_they_are_withdrawn(platform, acme):
    made = {"account": acme, "country": "DE", "valid_from": date(2025, 1, 1), "created_at": acme.created_at}
    TaxExemption.objects.create(**made, number="EX-1", withdrawn_at=acme.created_at)
    TaxExemption.objects.create(**made, number="EX-2", valid_to=date(2026, 1, 1))
    expected = [{"number": "EX-2", "country": "DE", "region": "", "valid_from": "2025-01-01", "valid_to": "2026-01-01"}]
    assert platform.get("/accounts/acme").json()["tax_exemptions"] == expected
    (listed,) = platform.get("/accounts").json()["items"]
    assert listed["tax_exemptions"] == expected


def test_what_is_no_country_is_refused_and_not_left_untaxed(platform, acme):
    rows = ["UK", "EL", "ZZ", "EU", "XX", "de", "DEU", ""]
    before = written()
    answers = [
        answer
        for country in rows
        for answer in (
            (country, platform.patch("/accounts/acme", {"country": country})),
            (country, platform.post("/accounts", {**NEW, "country": country})),
        )
    ]
    assert not_refused(answers, 400, "invalid_request", "country") == []
    assert written() == before
    acme.refresh_from_db()
    assert acme.country == "DE"
    assert platform.patch("/accounts/acme", {"country": "GB"}).json()["country"] == "GB"
