import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command

from billing.accounts import ids
from tests.api.operations import ANY_KEY, NO_KEY, SCOPES

# Integers of the API that say how much of something, or how many of what the caller owns.
QUANTITIES = {
    "accepted", "conflicts", "decimals", "duplicates", "events", "exp_month", "exp_year", "expires_in_seconds",
    "failures", "from_seats", "gauge_unit_seconds", "interval_count", "limit", "line", "max_count", "number",
    "payment_terms_days", "period_number", "periods_left", "priority", "rejected", "rollover_periods",
    "saving_percent", "seats", "seats_included", "seats_max", "status", "to_seats", "trial_days", "validity_days",
    "version",
}  # fmt: skip
OPERATIONS = ANY_KEY.union(NO_KEY, *SCOPES.values())


@pytest.fixture(scope="module")
def schema(tmp_path_factory) -> dict[str, Any]:
    """The OpenAPI document, made without a warning and valid."""
    file = tmp_path_factory.mktemp("schema") / "schema.json"
    call_command("spectacular", "--fail-on-warn", "--validate", "--format", "openapi-json", "--file", str(file))
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_schema_is_served_to_everybody(anonymous, schema):
    response = anonymous.get("/schema")
    assert response.status_code == 200
    assert response.json() == schema
    assert schema["openapi"].startswith("3.1")


# What is asked before an act, and the act.
PREVIEWS = {"preview_subscription": "create_subscription", "preview_subscription_change": "change_subscription"}
# What only the act is given: a reference, an expected price, a payment method.
OF_THE_ACT = {
    "reference_conflict", "total_changed", "unknown_payment_method", "platform_key_required", "invalid_idempotency_key",
    "idempotency_key_reused", "request_in_progress",
}  # fmt: skip


def refusals_of(schema: dict[str, Any], name: str) -> set[str]:
    operation = next(each for _, _, each in operations(schema) if each["operationId"] == name)
    texts = [each["description"] for status, each in operation["responses"].items() if status.startswith("4")]
    return {code for text in texts for code in re.findall(r"`([a-z_]+)`", text)}


def test_a_preview_refuses_whatever_its_act_refuses(schema):
    previews = {each["operationId"] for _, _, each in operations(schema) if "preview" in each["operationId"]}
    assert previews == set(PREVIEWS)
    for preview, act in PREVIEWS.items():
        refused = refusals_of(schema, act)
        assert len(refused) > 5
        assert refused - OF_THE_ACT - refusals_of(schema, preview) == set()


def test_operation_ids_are_stable_names(schema):
    names = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(set(names)) == len(names)
    assert set(names) == OPERATIONS
    assert len(names) > 80


def test_every_operation_says_what_it_does_and_what_may_go_wrong(schema):
    for method, path, operation in operations(schema):
        name = operation["operationId"]
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        for parameter in operation.get("parameters", []):
            assert parameter["in"] == "path" or parameter.get("description") or parameter["schema"].get("enum") or (
                parameter["name"] in {"external_id", "country", "created_from", "meter", "member"}
            ), (name, parameter["name"])  # fmt: skip
        responses = operation["responses"]
        assert "500" in responses, name
        if operation.get("security") == [{"key": []}]:
            assert {"401", "403", "429"} <= responses.keys(), name
            assert "Scope `" in " ".join(operation["description"].split()) or name == "get_own_key", name
        if method in {"post", "patch"}:
            assert {"400", "413", "415"} <= responses.keys(), name
        if "{" in path:
            assert "404" in responses, name
        for status, response in responses.items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (name, status)


def test_every_act_on_credits_takes_an_idempotency_key(schema):
    asking_only = {"check_charges", "estimate_usage", "preview_subscription", "preview_subscription_change"}
    for method, _, operation in operations(schema):
        headers = [each["name"] for each in operation.get("parameters", []) if each["in"] == "header"]
        expected = method == "post" and operation["operationId"] not in asking_only
        assert ("Idempotency-Key" in headers) == expected, operation["operationId"]


def test_only_what_is_about_the_api_is_open_to_all(schema):
    open_to_all = {op["operationId"] for _, _, op in operations(schema) if op.get("security") != [{"key": []}]}
    assert open_to_all == {"list_problems", "get_problem"}


def test_the_schema_states_the_conventions_as_they_are_set(schema, settings):
    text = schema["info"]["description"]
    assert f"for {settings.FLORIN_IDEMPOTENCY_RETENTION_HOURS} hours" in text
    assert f"after {settings.FLORIN_IDEMPOTENCY_LEASE_SECONDS} seconds" in text
    assert f"{settings.FLORIN_MAX_BODY_BYTES // 2**20} MiB and {settings.FLORIN_MAX_BATCH:,} events" in text
    assert f"{settings.FLORIN_REQUESTS_PER_MINUTE:,} requests" in text


def _values(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Named values anywhere in a part of the schema: of bodies, answers and parameters."""
    for each in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        yield from _values(each)
    if isinstance(node, dict):
        if "in" in node and "schema" in node:
            yield node["name"], node["schema"]
        fields = node.get("properties")
        # A field may itself be called so.
        yield from (item for item in fields.items() if isinstance(item[1], dict)) if isinstance(fields, dict) else ()


def test_no_value_is_a_counter_and_every_id_says_its_kind(schema):
    found = list(_values(schema))
    integers = {name for name, value in found if "integer" in str(value.get("type", ""))}
    patterns = {pattern for _, value in found if (pattern := value.get("pattern"))}
    assert integers == QUANTITIES
    without = {f"^{kind}_{ids.PATTERN}$" for kind in ids.KINDS.values()} - patterns
    assert without == {f"^{ids.NOTIFICATION}_{ids.PATTERN}$"}
