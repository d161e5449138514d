"""Every operation of the API, from its own schema; for each a request that it takes, and the scope that it needs."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api.asking import Api

# Which scope a key needs; said here once more, for a wrong scope in the code would also be in the schema.
SCOPES = {
    "read": {
        *("list_accounts", "get_account", "get_balance", "list_pools", "list_grants", "list_entries", "list_events"),
        *("get_usage", "check_charges", "estimate_usage", "get_card_setup", "list_holds", "get_hold", "list_meters"),
        *("list_rate_cards", "list_packs", "list_plans", "list_members", "list_payment_methods", "list_payments"),
        *("get_payment", "list_offers", "list_purchases", "get_purchase", "list_invoices", "get_invoice"),
        *("get_invoice_pdf", "get_invoice_xml", "get_credit_note_pdf", "get_credit_note_xml", "list_subscriptions"),
        *("preview_subscription", "get_subscription", "get_next_invoice", "preview_subscription_change"),
        *("list_subscription_history", "list_contract_terms", "get_statement", "get_statement_pdf", "get_test_clock"),
        *("list_top_up_rules", "list_top_ups", "get_invoice_balance"),
    },
    "accounts:write": {
        *("create_account", "update_account", "create_pool", "update_pool", "update_member", "create_invitation"),
        *("create_contract_terms", "move_test_clock"),
    },
    "credits:write": {"create_transfer", "create_grant", "revoke_grant", "reverse_posting", "reverse_event"},
    "usage:write": {"report_events"},
    "charges:write": {"create_charge", "create_hold", "capture_hold", "release_hold", "extend_hold"},
    "payments:write": {
        *("begin_card_setup", "add_payment_method", "set_default_payment_method", "remove_payment_method"),
        *("create_purchase", "refund_purchase", "pay_invoice", "void_invoice", "mark_invoice_uncollectible"),
        *(
            "credit_invoice",
            "create_subscription",
            "change_subscription",
            "withdraw_subscription_change",
            "redeem_coupon",
        ),
        *("pause_subscription", "resume_subscription", "cancel_subscription", "reactivate_subscription"),
        *("save_top_up_rule", "switch_off_top_up"),
    },
}
ANY_KEY = {"get_own_key"}
NO_KEY = {"list_problems", "get_problem"}
# What a customer's own key may not do.
PLATFORM_ONLY = {
    *("create_account", "update_account", "create_pool", "update_pool", "create_contract_terms", "move_test_clock"),
    *("create_grant", "revoke_grant", "reverse_posting", "reverse_event", "refund_purchase", "void_invoice"),
    *("mark_invoice_uncollectible", "credit_invoice"),
}

LINES = [{"meter": "tokens"}]
# A body that fits alice's account, as `hers` makes it; an operation that is not here needs none.
BODIES: dict[str, dict[str, Any]] = {
    "create_account": {"external_id": "new", "name": "New", "billing_email": "n@new.example", "country": "DE"},
    "update_account": {"name": "Another"},
    "begin_card_setup": {"make_default": True},
    "create_contract_terms": {"plan": "team", "fee": "1"},
    "create_grant": {"amount": "5", "kind": "bonus"},
    "create_invitation": {"email": "c@example.com", "role": "admin"},
    "update_member": {"spend_limit": "5"},
    "add_payment_method": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"},
    "create_pool": {"key": "new", "name": "New"},
    "update_pool": {"policy": "burst", "burst_limit": "5"},
    "create_purchase": {"pack": "credits", "credits": "1000"},
    "create_subscription": {"plan": "team"},
    "preview_subscription": {"plan": "team"},
    "move_test_clock": {"advance_to": (datetime.now(UTC) + timedelta(hours=1)).isoformat()},
    "save_top_up_rule": {
        "threshold": "10", "pack": "credits", "credits": "1000", "max_count": 3, "max_money": "1000",
    },
    "create_charge": {"id": "c", "account": "{account}", "credits": "1"},
    "check_charges": {"accounts": ["{account}"], "lines": LINES},
    "estimate_usage": {"account": "{account}", "lines": LINES},
    "report_events": {"id": "e", "account": "{account}", "meter": "tokens"},
    "reverse_event": {"account": "{account}"},
    "create_hold": {"account": "{account}", "amount": "5"},
    "capture_hold": {"amount": "1"},
    "extend_hold": {"expires_in_seconds": 60},
    "refund_purchase": {"reason": "Not needed"},
    "credit_invoice": {"amount": "1", "reason": "Outage"},
    "preview_subscription_change": {"seats": 2},
    "change_subscription": {"seats": 2},
    "redeem_coupon": {"code": "HALF"},
    "create_transfer": {"account": "{account}", "from_pool": "main", "to_pool": "team", "amount": "1"},
}  # fmt: skip
DAYS = {"from": "2026-01-01", "to": "2026-01-02"}
OF_ACCOUNT = {"account": "{account}"}
QUERIES = {
    **dict.fromkeys(("get_usage", "get_statement", "get_statement_pdf"), DAYS),
    **dict.fromkeys(("list_holds", "list_plans"), OF_ACCOUNT),
}


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    name: str
    method: str
    path: str
    # What the schema says of each field of a JSON body.
    fields: Mapping[str, Mapping[str, Any]]
    # Whether one must be sent.
    needs_body: bool

    @property
    def ids(self) -> list[str]:
        """The names of the ids in its address."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def names_account(self) -> bool:
        """Whether its body or its query says whose account it is about."""
        return bool({"account", "accounts"} & (BODIES.get(self.name, {}) | QUERIES.get(self.name, {})).keys())

    @property
    def takes_body(self) -> bool:
        """Whether anything can be said in it."""
        return self.method in {"POST", "PATCH"}

    def address(self, given: Mapping[str, str]) -> str:
        """Where it is for these ids, with the query that it needs; an id that is not given fails here."""
        query = "&".join(f"{name}={value}" for name, value in QUERIES.get(self.name, {}).items())
        address = f"{self.path}?{query}" if query else self.path
        return re.sub(r"{(\w+)}", lambda match: given[match[1]], address)

    def body(self, given: Mapping[str, str]) -> dict[str, Any]:
        """A body that it takes for these ids."""
        text = json.dumps(BODIES.get(self.name, {})).replace("{account}", given["account"])
        body: dict[str, Any] = json.loads(text)
        return body

    def ask(self, caller: Api, given: Mapping[str, str]) -> Any:
        """The answer to a request that is as it should be."""
        body = json.dumps(self.body(given)).encode() if self.takes_body else b""
        return caller.send(self.method, self.address(given), body)


def guarded(every_operation: Iterable[Operation]) -> list[Operation]:
    """The operations that need a key."""
    found = [operation for operation in every_operation if operation.name not in NO_KEY]
    assert len(found) > 75
    return found


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    """All that the OpenAPI document has."""
    for address, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            fields = _resolve(document, content.get("schema", {})).get("properties", {})
            yield Operation(
                name=operation["operationId"],
                method=method.upper(),
                path=address.removeprefix("/api/v1"),
                fields={name: _resolve(document, field) for name, field in fields.items()},
                needs_body=operation.get("requestBody", {}).get("required", False),
            )


def _resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for part in schema.get("allOf", []):
        schema = {**schema, **_resolve(document, part)}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _resolve(document, document["components"]["schemas"][name])
    return schema


def missing(given: Mapping[str, str]) -> dict[str, str]:
    """Ids of the same kinds that do not exist."""
    return {name: re.sub(r"\d+$", "987654321", value) for name, value in given.items()} | {
        "pool": "nowhere", "event_id": "event-987654321",
    }  # fmt: skip


def judge(answer: Any) -> tuple[int, str]:
    """Status and code of an answer; no code if it is no problem."""
    return answer.status_code, answer.json()["code"] if answer.status_code >= 400 else ""


def served() -> dict[str, Any]:
    """The API's own schema, as the server gives it."""
    document: dict[str, Any] = Api(None).get("/schema").json()
    return document
