"""The sandbox gateway: behaves as a payment provider's own process would, and moves no money.

It keeps its own tables, which nothing of ours reads, and commits what it does at once, whatever the caller does after:
inside a database transaction every function raises RuntimeError. A card's behaviour follows from its number:

| card | what happens to a charge |
|---|---|
| 4242424242424242, 5555555555554444, 378282246310005 | succeeds |
| 4000000000000002 | declined |
| 4000000000009995 | declined: insufficient funds |
| 4000000000000069 | declined: expired, trying again is no use |
| 4000002760003184 | the customer confirms on `/sandbox/bank/<reference>`, within an hour; declined when off-session |
| 4000000000000341 | succeeds, but is declined when charged later, off-session |
| 4000000000001018 | in process for 8 seconds, then succeeds; its webhooks come twice and in the wrong order |
| 4000000000001026 | in process for 8 seconds, then declined; its webhooks likewise |
| 4000000000001034 | charged, but the answer is lost; who asks is answered after 30 seconds; its refunds likewise |
| 4000000000001042 | charged, but the answer is lost; no answer and no webhook for 25 hours |
| 4000000000001059 | in process for 5 minutes, then succeeds; its webhooks come twice and in the wrong order |
| 4000000000001067 | in process for 3 hours, then succeeds |
| 4000000000001075 | succeeds; the first refund of a charge fails |
| 4000000000001083 | succeeds three times, then declined |
| 4000000000000259 | succeeds; 5 seconds later the payer disputes the charge |

Any charge that has succeeded can be disputed, and a dispute decided (`dispute`, `decide_dispute`): staff do so on the
charge's page in the admin. Every charge and refund that is settled, and every dispute, is also reported by a signed
webhook: see `sandbox_webhooks.py`.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from django.db import transaction
from django.db.models import F

from billing.payments import failures
from billing.payments.gateways import sandbox_cards, sandbox_webhooks
from billing.payments.gateways.contract import (
    Charge,
    Delivery,
    DisputeReport,
    GatewayUnavailable,
    InvalidCard,
    Outcome,
    Report,
    Return,
    State,
    StoredCard,
)
from billing.payments.sandbox_models import SandboxCard, SandboxCharge, SandboxRefund

# Where the customer confirms; the page is the portal's.
BANK_PATH = "/sandbox/bank/"
ACTION_LASTS = timedelta(hours=1)
REFUND_SILENCE = timedelta(seconds=30)
DISPUTED_AFTER = timedelta(seconds=5)


class NotDisputable(Exception):
    """The charge cannot be disputed, or has no dispute to decide."""


class ActionNotFound(Exception):
    """The sandbox knows no charge of this reference that a customer has to confirm."""


@dataclass(frozen=True, slots=True)
class Action:
    """What the bank's page shows: a charge that waits for the customer, or that has waited."""

    reference: str
    amount: Decimal
    currency: str
    description: str
    return_url: str
    state: str
    expires_at: datetime


def store_card(*, key: str, number: str, exp_month: int, exp_year: int, cvc: str, now: datetime) -> StoredCard:
    """Keep how the card behaves, and not its number; once per key, whose first card stays. Raises InvalidCard."""
    errors = sandbox_cards.errors_of(number=number, exp_month=exp_month, exp_year=exp_year, cvc=cvc, now=now)
    card = sandbox_cards.find_card(number)
    if errors or card is None:
        raise InvalidCard(errors)
    with transaction.atomic(durable=True):
        row, _made = SandboxCard.objects.get_or_create(
            reference=f"sbx_card_{hashlib.sha256(key.encode()).hexdigest()[:24]}",
            defaults={"behaviour": card.behaviour, "created_at": now},
        )
    return StoredCard(row.reference, card.brand, card.number[-4:], exp_month, exp_year)


def charge(request: Charge, *, now: datetime) -> Outcome:
    """Do to the card what its number says, once per key; a repeat answers how the first stands.

    Raises GatewayUnavailable when the answer is lost, ValueError for another request under a known key.
    """
    with transaction.atomic(durable=True):
        card = SandboxCard.objects.get(reference=request.method_reference)
        earlier = 0
        if card.behaviour == SandboxCard.Behaviour.WEARS_OUT:
            earlier = card.charges.filter(state="succeeded").count()
        script = sandbox_cards.script_of(card.behaviour, off_session=request.off_session, earlier=earlier)
        row, made = SandboxCharge.objects.get_or_create(
            idempotency_key=request.key,
            defaults={
                "reference": _name("ch"),
                "card": card,
                "amount": request.amount,
                "currency": request.currency,
                "description": request.description[:200],
                "state": script.state,
                "failure_code": script.failure_code,
                "return_url": request.return_url,
                "created_at": now,
                "settles_at": now + script.settles_after,
                "answers_at": now + (script.silent_for or sandbox_cards.NOW),
                "action_until": now + ACTION_LASTS if script.state == "requires_action" else None,
            },
        )
        if made:
            _plan_webhooks(row, script, now)
            if card.behaviour == SandboxCard.Behaviour.DISPUTED:
                _open_dispute(row, now=now, due_at=now + DISPUTED_AFTER)
    if (row.card_id, row.amount, row.currency) != (card.pk, request.amount, request.currency):
        raise ValueError(f"key {request.key} was used for another charge")
    return _answer(row, now)


def find_charge(request: Charge, *, now: datetime) -> Outcome | None:
    """How the charge of the key stands, None when there is none. Raises GatewayUnavailable during a blackout."""
    with transaction.atomic(durable=True):
        row = SandboxCharge.objects.filter(idempotency_key=request.key).first()
    return None if row is None else _answer(row, now)


def refund(request: Return, *, now: datetime) -> Outcome:
    """Give money of a charge back, once per key. Raises GatewayUnavailable when the answer is lost."""
    with transaction.atomic(durable=True):
        paid = SandboxCharge.objects.select_related("card").select_for_update(of=("self",)).get(
            reference=request.charge_reference
        )  # fmt: skip
        row = SandboxRefund.objects.filter(idempotency_key=request.key).first()
        if row is None:
            row = _refund(paid, request, now)
    return _answer_refund(row, paid.currency, now)


def _refund(paid: SandboxCharge, request: Return, now: datetime) -> SandboxRefund:
    behaviour, message = paid.card.behaviour, ""
    gone = paid.refunded + (paid.dispute_amount if paid.dispute_state in ("open", "lost") else 0)
    if _state(paid, now) != "succeeded" or gone + request.amount > paid.amount:
        message = "There is not so much left of the charge."
    elif behaviour == SandboxCard.Behaviour.REFUND_FAILS and not paid.refunds.exists():
        message = "The card's account is closed."
    else:
        SandboxCharge.objects.filter(pk=paid.pk).update(refunded=F("refunded") + request.amount)
    is_silent = behaviour == SandboxCard.Behaviour.LOST_ANSWER
    row = SandboxRefund.objects.create(
        idempotency_key=request.key,
        reference=_name("re"),
        charge=paid,
        amount=request.amount,
        state="failed" if message else "succeeded",
        failure_message=message,
        created_at=now,
        answers_at=now + REFUND_SILENCE if is_silent else now,
    )
    sandbox_webhooks.plan_refund_event(row, paid.currency, now=now, due_at=row.answers_at)
    return row


def find_refund(request: Return, *, now: datetime) -> Outcome | None:
    """How the refund of the key stands, None when there is none. Raises GatewayUnavailable while it is silent."""
    with transaction.atomic(durable=True):
        row = SandboxRefund.objects.select_related("charge").filter(idempotency_key=request.key).first()
    return None if row is None else _answer_refund(row, row.charge.currency, now)


def open_webhook(*, headers: Mapping[str, str], body: bytes) -> Delivery:
    """Check signature and time. Raises InvalidWebhook."""
    return sandbox_webhooks.open_webhook(headers=headers, body=body)


def dispute(reference: str, *, now: datetime) -> SandboxCharge:
    """Let the payer of a charge dispute what is left of it at their bank. A charge has one dispute at most.

    Raises NotDisputable when it has not succeeded, nothing is left of it, or it was disputed before.
    """
    with transaction.atomic(durable=True):
        row = SandboxCharge.objects.select_for_update().get(reference=reference)
        if _state(row, now) != "succeeded" or row.refunded >= row.amount or row.dispute_state:
            raise NotDisputable(reference)
        _open_dispute(row, now=now, due_at=now)
        return row


def decide_dispute(reference: str, *, won: bool, now: datetime) -> SandboxCharge:
    """Let the bank decide a dispute, for the seller (`won`) or the payer. Raises NotDisputable when none is open."""
    with transaction.atomic(durable=True):
        row = SandboxCharge.objects.select_for_update().get(reference=reference)
        if row.dispute_state != "open":
            raise NotDisputable(reference)
        row.dispute_state = "won" if won else "lost"
        row.save(update_fields=["dispute_state"])
        sandbox_webhooks.plan_dispute_event(row, now=now, due_at=now)
        return row


def _open_dispute(row: SandboxCharge, *, now: datetime, due_at: datetime) -> None:
    row.dispute_reference, row.dispute_state = _name("dp"), "open"
    row.dispute_amount = row.amount - row.refunded
    row.save(update_fields=["dispute_reference", "dispute_state", "dispute_amount"])
    sandbox_webhooks.plan_dispute_event(row, now=now, due_at=due_at)


def read_webhook(payload: Mapping[str, Any]) -> Report | DisputeReport | None:
    """What the payload says; None for a kind that is of no concern. Raises ValueError."""
    return sandbox_webhooks.read_webhook(payload)


def find_action(reference: str) -> Action | None:
    """What the customer is asked to confirm, or was."""
    row = SandboxCharge.objects.filter(reference=reference, action_until__isnull=False).first()
    return None if row is None else _action(row)


def confirm(reference: str, *, approve: bool, now: datetime) -> Action:
    """Let the customer confirm a charge or refuse it. The first decision stands, and after an hour it is too late.

    Raises ActionNotFound.
    """
    with transaction.atomic(durable=True):
        waiting = SandboxCharge.objects.select_for_update().filter(reference=reference, action_until__isnull=False)
        row = waiting.first()
        if row is None:
            raise ActionNotFound(reference)
        if _state(row, now) == "requires_action":
            row.state = "succeeded" if approve else "failed"
            row.failure_code = "" if approve else "authentication_failed"
            row.settles_at = now
            row.save(update_fields=["state", "failure_code", "settles_at"])
            row.events.filter(due_at__gt=now).delete()
            sandbox_webhooks.plan_charge_event(row, row.state, failure_code=row.failure_code, now=now, due_at=now)
    return _action(row)


def _action(row: SandboxCharge) -> Action:
    assert row.action_until is not None  # noqa: S101
    return Action(row.reference, row.amount, row.currency, row.description, row.return_url, row.state, row.action_until)


def _state(row: SandboxCharge, now: datetime) -> State:
    """How the charge stands at a time."""
    if now < row.settles_at:
        return "processing"
    if row.state == "requires_action" and row.action_until is not None and now >= row.action_until:
        return "failed"
    return cast(State, row.state)


def _answer(row: SandboxCharge, now: datetime) -> Outcome:
    if now < row.answers_at:
        raise GatewayUnavailable
    state = _state(row, now)
    code = ""
    if state == "failed":
        code = row.failure_code or "authentication_expired"
    return Outcome(
        state=state,
        reference=row.reference,
        failure_code=code,
        failure_message=failures.text(code) if code else "",
        action_url=f"{BANK_PATH}{row.reference}" if state == "requires_action" else "",
        hard=code in failures.HARD,
        amount=row.amount,
        currency=row.currency,
    )


def _answer_refund(row: SandboxRefund, currency: str, now: datetime) -> Outcome:
    if now < row.answers_at:
        raise GatewayUnavailable
    return Outcome(
        state=cast(State, row.state),
        reference=row.reference,
        failure_message=row.failure_message,
        amount=row.amount,
        currency=currency,
    )


def _plan_webhooks(row: SandboxCharge, script: sandbox_cards.Script, now: datetime) -> None:
    if row.action_until is not None:
        code = "authentication_expired"
        sandbox_webhooks.plan_charge_event(row, "failed", failure_code=code, now=now, due_at=row.action_until)
        return
    told_at = max(row.settles_at, row.answers_at)
    sends = 2 if script.is_noisy else 1
    sandbox_webhooks.plan_charge_event(
        row, row.state, failure_code=row.failure_code, now=now, due_at=told_at, sends=sends
    )
    if script.is_noisy:
        late = told_at + timedelta(seconds=5)
        sandbox_webhooks.plan_charge_event(row, "processing", now=now, due_at=late)


def _name(kind: str) -> str:
    return f"sbx_{kind}_{secrets.token_hex(12)}"
