"""Whatever the schema allows to be sent, and a little of what it does not: no answer is ever a 500."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode

from billing.ledger import pools
from tests.api.asking import Api
from tests.factories import NOW, give_credits, make_meter, make_rate_card

OPERATIONS = [
    "list_accounts", "create_account", "get_account", "update_account", "get_balance", "list_pools", "create_pool",
    "update_pool", "create_transfer", "list_grants", "create_grant", "revoke_grant", "list_entries", "reverse_posting",
    "report_events", "list_events", "reverse_event", "get_usage", "create_charge", "check_charges", "estimate_usage",
    "list_holds", "create_hold", "get_hold", "capture_hold", "release_hold", "extend_hold", "list_meters",
    "list_rate_cards", "list_packs", "list_members", "update_member", "create_invitation", "get_own_key",
    "list_payment_methods", "add_payment_method", "set_default_payment_method", "remove_payment_method",
    "list_payments", "get_payment", "list_offers", "list_purchases", "create_purchase", "get_purchase",
    "refund_purchase", "list_invoices", "get_invoice", "get_invoice_pdf", "get_credit_note_pdf", "pay_invoice",
    "list_subscriptions", "create_subscription", "preview_subscription", "get_subscription", "get_next_invoice",
    "preview_subscription_change", "change_subscription", "withdraw_subscription_change", "redeem_coupon",
    "pause_subscription", "resume_subscription", "cancel_subscription", "reactivate_subscription",
    "list_subscription_history", "list_contract_terms", "create_contract_terms",
    "list_top_up_rules", "save_top_up_rule", "switch_off_top_up", "list_top_ups", "get_test_clock",
]  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Any:
    """The API's own schema, as the server gives it."""
    return schemathesis.openapi.from_dict(Api(None).get("/schema").json())


@pytest.fixture
def world(acme, platform, shop) -> Api:
    """Accounts, credits and prices to meet by chance."""
    pools.open_pool(account=acme, key="team", name="Team", now=NOW)
    make_rate_card({make_meter("tokens"): "0.001"})
    give_credits(acme, "100")
    return platform


@pytest.mark.parametrize("operation_id", OPERATIONS)
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_is_answered_with_a_fault_of_ours(world, schema, operation_id, mode):
    operation = schema.find_operation_by_id(operation_id)

    @settings(
        max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = send(world, case)
        assert response.status_code < 500, (case.method, case.formatted_path, case.query, case.body, response.content)
        if response.status_code >= 400:
            assert response["Content-Type"] == "application/problem+json"

    ask()


def send(api: Api, case: Any) -> Any:
    """Send a generated request through Django's test client."""
    body = case.body
    raw = b"" if body is NOT_SET else body if isinstance(body, bytes) else json.dumps(body, default=str).encode()
    given_headers = {name: str(value) for name, value in (case.headers or {}).items()}
    headers = {**api.headers, **{name: value for name, value in given_headers.items() if name == "Idempotency-Key"}}
    path = case.formatted_path
    return api.client.generic(
        case.method,
        path,
        raw,
        content_type=case.media_type or "application/json",
        headers=headers,
        query_params={name: value for name, value in (case.query or {}).items() if value is not None},
    )
