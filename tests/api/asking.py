"""Asking the API, and judging its answers."""

import json
from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db import connection
from django.test import Client

from billing.accounts.models import Account, Scope
from billing.invoicing.models import CreditNote, Invoice
from billing.ledger.models import CreditGrant, CreditPool, Hold, LedgerEntry, Posting
from billing.metering.models import DailyUsage, RejectedEvent, UsageEvent
from billing.payments.models import Payment, Refund
from billing.payments.sandbox_models import SandboxCharge
from billing.purchases.models import Purchase, TopUpRule


class Api:
    """A caller of the API with one key, or none."""

    def __init__(self, secret: str | None) -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def get(self, path: str, **query: Any) -> Any:
        """GET with query parameters."""
        return self.client.get(f"/api/v1{path}", query, headers=self.headers)

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """POST a JSON body, maybe with an Idempotency-Key."""
        headers = {"Idempotency-Key": key} if key else {}
        return self.send("POST", path, json.dumps(body or {}).encode(), headers=headers)

    def patch(self, path: str, body: Any) -> Any:
        """PATCH a JSON body."""
        return self.send("PATCH", path, json.dumps(body).encode())

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Any request, byte for byte."""
        headers = {**self.headers, **(headers or {})}
        return self.client.generic(method, f"/api/v1{path}", body, content_type=content_type, headers=headers)


def all_but(scope: str) -> list[str]:
    """Every scope except one."""
    return [each for each in Scope.values if each != scope]


def assert_problem(response: Any, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """The answer is this problem document (about this field); returns it."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json", response.content
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code, problem
    assert problem["status"] == status, problem
    assert {"type", "title", "detail", "instance"} <= problem.keys(), problem
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]], problem
    return problem


def not_refused(answers: Iterable[tuple[Any, ...]], *expected: Any) -> list[Any]:
    """What was asked, where the answer is not the problem that `assert_problem` expects.

    Each row is what was asked, the answer, and more that is expected of this one.
    """
    odd = []
    for asked, answer, *more in answers:
        try:
            assert_problem(answer, *expected, *more)
        except AssertionError as error:
            odd.append((asked, *more, answer.status_code, str(error)))
    return odd


def written() -> dict[str, Any]:
    """Everything that a refused write must leave as it is."""
    models = (
        Account, CreditGrant, Hold, LedgerEntry, Posting, UsageEvent, DailyUsage, RejectedEvent, Invoice, CreditNote,
        Payment, Refund, SandboxCharge, Purchase, TopUpRule,
    )  # fmt: skip
    counts: dict[str, Any] = {model.__name__: model._default_manager.count() for model in models}
    counts["pools"] = list(CreditPool.objects.order_by("pk").values_list("pk", "balance", "held", "version", "policy"))
    return counts


# What any request may leave behind, also one that is refused.
TRACES = {"ApiKey", "IdempotencyKey", "RejectedEvent", "Throttle"}


def everything() -> dict[str, str]:
    """A digest of the rows of each table, but for `TRACES`."""
    tables = [
        model._meta.db_table for model in apps.get_app_config("billing").get_models() if model.__name__ not in TRACES
    ]
    digests = (
        f"SELECT '{table}', coalesce(md5(string_agg(md5(row::text), '' ORDER BY md5(row::text))), '')"
        f' FROM "{table}" AS row'
        for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(digests))
        return dict(cursor.fetchall())
