"""Whatever the schema allows to be sent, and a little of what it does not: no answer is ever a 500."""

import json
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode

from billing.api import clocks
from tests.api.asking import Api
from tests.api.operations import Operation, served
from tests.undoing import undone

# Requests for each operation. Making wrong ones takes longest, and `test_bad_input` sends wrong bodies too.
BUDGET = {GenerationMode.POSITIVE: 8, GenerationMode.NEGATIVE: 4}
# Without parameters and a body there is nothing to get wrong.
NEVER_WRONG = {"list_problems", "get_problem"}


@pytest.fixture(scope="module")
def schema() -> Any:
    """The API's own schema, as the server gives it."""
    return schemathesis.openapi.from_dict(served())


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_is_answered_with_a_fault_of_ours(every_operation, hers, platform, schema, mode, monkeypatch):
    # A test clock may be told to move for years.
    monkeypatch.setattr(clocks, "ANSWER_WITHIN_SECONDS", 0)
    asked, odd = set(), []
    for operation in every_operation:
        if mode is GenerationMode.NEGATIVE and operation.name in NEVER_WRONG:
            continue
        strategy = schema.find_operation_by_id(operation.name).as_strategy(generation_mode=mode)
        with undone():
            for number, case in enumerate(generated(strategy, operation, BUDGET[mode])):
                # Every other one is about alice's; by chance it would never be.
                answer = send(platform, case, hers if mode is GenerationMode.POSITIVE and number % 2 else {})
                asked.add(operation.name)
                problem = answer["Content-Type"] == "application/problem+json"
                if answer.status_code >= 500 or (answer.status_code >= 400 and not problem):
                    odd.append((case.method, case.formatted_path, case.query, case.body, answer.content[:300]))
    assert odd == []
    assert len(asked) > 75


def generated(strategy: Any, operation: Operation, budget: int) -> list[Any]:
    """As many requests, and always the same ones for an operation that stays as it is."""
    cases: list[Any] = []

    @seed(crc32(operation.name.encode()))
    @settings(
        max_examples=budget, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def collect(case: Any) -> None:
        cases.append(case)

    collect()
    return cases


def send(api: Api, case: Any, ids: Mapping[str, str]) -> Any:
    """Send a generated request through Django's test client, with these ids in place of its own."""
    body = case.body
    if isinstance(body, dict) and "account" in body and ids:
        body = {**body, "account": ids["account"]}
    raw = b"" if body is NOT_SET else body if isinstance(body, bytes) else json.dumps(body, default=str).encode()
    for name in (case.path_parameters or {}).keys() & ids.keys():
        case.path_parameters[name] = ids[name]
    given_headers = {name: str(value) for name, value in (case.headers or {}).items()}
    headers = {**api.headers, **{name: value for name, value in given_headers.items() if name == "Idempotency-Key"}}
    return api.client.generic(
        case.method,
        case.formatted_path,
        raw,
        content_type=case.media_type or "application/json",
        headers=headers,
        query_params={name: value for name, value in (case.query or {}).items() if value is not None},
    )
