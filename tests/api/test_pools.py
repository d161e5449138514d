from tests.api.asking import assert_problem, not_refused, written

NEW = {"key": "research", "name": "Research"}
CALLS = [
    ("GET", "/accounts/acme/pools", "read"),
    ("POST", "/accounts/acme/pools", "accounts:write"),
    ("PATCH", "/accounts/acme/pools/main", "accounts:write"),
]


def test_a_team_pool_is_opened_beside_the_main_pool(platform, alice, acme):
    response = platform.post("/accounts/acme/pools", {**NEW, "policy": "overage", "overage_cap": "1000"})
    assert response.status_code == 201, response.content
    answer = response.json()
    assert answer | {"id": "", "created_at": ""} == {
        **NEW, "id": "", "created_at": "", "kind": "team", "policy": "overage", "burst_limit": "0",
        "overage_cap": "1000", "low_balance_below": None,
    }  # fmt: skip
    assert [pool["key"] for pool in alice.get("/accounts/acme/pools").json()["items"]] == ["research", "main"]


def test_a_pool_key_is_given_once_per_account(platform, acme):
    before = written()
    assert_problem(platform.post("/accounts/acme/pools", {"key": "main", "name": "M"}), 409, "pool_key_taken")
    assert written() == before


def test_what_does_not_fit_is_refused_by_field(platform, acme):
    rows = [
        ("key", "Has Space"),
        ("key", "UPPER"),
        ("key", ""),
        ("name", None),
        ("policy", "free"),
        ("burst_limit", "-0.1"),
    ]
    before = written()
    answers = [
        ((field, value), platform.post("/accounts/acme/pools", {**NEW, field: value}), field) for field, value in rows
    ]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before


def test_a_policy_is_changed_and_the_rest_kept(platform, acme):
    assert platform.patch("/accounts/acme/pools/main", {"policy": "burst", "burst_limit": 20}).status_code == 200
    answer = platform.patch("/accounts/acme/pools/main", {"overage_cap": None}).json()
    assert (answer["policy"], answer["burst_limit"], answer["overage_cap"]) == ("burst", "20", None)


def test_when_a_pool_is_low_is_set_and_unset_without_touching_its_policy(platform, acme):
    answer = platform.patch("/accounts/acme/pools/main", {"low_balance_below": "500.5"}).json()
    assert (answer["low_balance_below"], answer["policy"]) == ("500.5", "block")
    assert platform.patch("/accounts/acme/pools/main", {"policy": "burst"}).json()["low_balance_below"] == "500.5"
    answer = platform.patch("/accounts/acme/pools/main", {"low_balance_below": None}).json()
    assert (answer["low_balance_below"], answer["policy"]) == (None, "burst")


def test_a_pool_is_not_low_below_nothing(platform, acme):
    rows = ["0", "-1"]
    before = written()
    answers = [
        (
            below,
            platform.patch("/accounts/acme/pools/main", {"policy": "burst", "low_balance_below": below}),
            "low_balance_below",
        )
        for below in rows
    ]
    assert not_refused(answers, 400, "invalid_request") == []
    assert written() == before


def test_an_unknown_pool_is_not_found(platform, acme):
    rows = ["nowhere", "ma%0Ain"]
    answers = [(key, platform.patch(f"/accounts/acme/pools/{key}", {"policy": "burst"})) for key in rows]
    assert not_refused(answers, 404, "not_found") == []
