"""What Stripe says, in our words: brands, reasons, and how things stand. Pure; amounts are `stripe_units`'."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from billing.invoicing import stripe_units
from billing.payments import failures
from billing.payments.gateways.contract import Outcome, State, StoredCard
from billing.payments.models import Dispute

# Where the things that we make at Stripe carry our key, in their metadata.
KEY = "florin_key"

# Stripe's codes of why a payment failed, and ours; what is not here is `card_declined`.
_CODES = {
    "insufficient_funds": "insufficient_funds",
    "expired_card": "expired_card",
    "authentication_required": "authentication_required",
    "payment_intent_authentication_failure": "authentication_failed",
    "amount_too_small": "amount_not_chargeable",
    "amount_too_large": "amount_not_chargeable",
    **dict.fromkeys(
        (
            "card_not_supported", "currency_not_supported", "incorrect_number", "invalid_account", "invalid_number",
            "lost_card", "payment_method_unactivated", "payment_method_unexpected_state", "pickup_card",
            "resource_missing", "restricted_card", "revocation_of_all_authorizations", "revocation_of_authorization",
            "stolen_card", "stop_payment_order",
        ),
        "card_unusable",
    ),
}  # fmt: skip
_BRANDS = {"amex": "American Express", "diners": "Diners Club", "jcb": "JCB", "unionpay": "UnionPay"}
_DISPUTES = {
    "warning_needs_response": Dispute.State.INQUIRY,
    "warning_under_review": Dispute.State.INQUIRY,
    "warning_closed": Dispute.State.CLOSED,
    "prevented": Dispute.State.CLOSED,
    "needs_response": Dispute.State.OPEN,
    "under_review": Dispute.State.OPEN,
    "won": Dispute.State.WON,
    "lost": Dispute.State.LOST,
}


def card_of(method: Any) -> StoredCard:
    """A card as Stripe keeps it."""
    card = method["card"]
    brand = _BRANDS.get(card["brand"], card["brand"].title())
    return StoredCard(method["id"], brand[:20], card["last4"], card["exp_month"], card["exp_year"])


def charge_outcome(intent: Any) -> Outcome:
    """How a PaymentIntent stands. Raises ValueError for a state that Stripe has not got."""
    currency = intent["currency"].upper()
    status, error = intent["status"], _get(intent, "last_payment_error")
    state: State
    code = ""
    if status == "succeeded":
        state = "succeeded"
    elif status in ("processing", "requires_capture", "requires_confirmation"):
        state = "processing"
    elif status == "requires_action":
        state = "requires_action"
    elif status == "requires_payment_method":
        state, code = "failed", failure_code(error)
    elif status == "canceled":
        state, code = "failed", "authentication_expired"
    else:
        raise ValueError(f"a PaymentIntent that is {status}")
    return Outcome(
        state=state,
        reference=intent["id"],
        failure_code=code,
        failure_message=failures.text(code) if code else "",
        action_url=_action_url(intent) if state == "requires_action" else "",
        hard=code in failures.HARD,
        amount=stripe_units.amount_of(intent["amount"], currency),
        currency=currency,
        received=stripe_units.amount_of(intent["amount_received"], currency) if state == "succeeded" else None,
        key=key_of(intent),
        customer_reference=id_of(_get(intent, "customer")),
    )


def failed(code: str, reference: str = "") -> Outcome:
    """A charge that came to nothing."""
    return Outcome(
        state="failed",
        reference=reference,
        failure_code=code,
        failure_message=failures.text(code),
        hard=code in failures.HARD,
    )


def failure_code(error: Any) -> str:
    """Our code for why a charge failed; `error` is Stripe's, or None."""
    for name in ("decline_code", "code"):
        said = _get(error, name) if error else None
        if said in _CODES:
            return _CODES[said]
    return "card_declined"


def refund_outcome(refund: Any) -> Outcome:
    """How a refund stands. Raises ValueError for a state that Stripe has not got."""
    states: Mapping[str, State] = {
        "succeeded": "succeeded",
        "pending": "processing",
        "requires_action": "processing",
        "failed": "failed",
        "canceled": "failed",
    }
    if refund["status"] not in states:
        raise ValueError(f"a refund that is {refund['status']}")
    state, currency = states[refund["status"]], refund["currency"].upper()
    reason = (_get(refund, "failure_reason") or refund["status"]).replace("_", " ")
    return Outcome(
        state=state,
        reference=refund["id"],
        failure_message=f"Stripe says: {reason}." if state == "failed" else "",
        amount=stripe_units.amount_of(refund["amount"], currency),
        currency=currency,
        key=key_of(refund),
        charge_reference=id_of(refund["payment_intent"]),
    )


def dispute_state(status: str) -> str:
    """Our state for a dispute's. Raises ValueError for one that Stripe has not got."""
    if status not in _DISPUTES:
        raise ValueError(f"a dispute that is {status}")
    return _DISPUTES[status].value


def made_refund_state(status: str) -> str:
    """Our state for a refund that was made at Stripe itself: the money is gone, on its way, or has stayed. Raises
    ValueError for a state that Stripe has not got."""
    states = {
        "succeeded": Dispute.State.LOST,
        "pending": Dispute.State.OPEN,
        "requires_action": Dispute.State.OPEN,
        "failed": Dispute.State.CLOSED,
        "canceled": Dispute.State.CLOSED,
    }
    if status not in states:
        raise ValueError(f"a refund that is {status}")
    return states[status].value


def refund_reason(refund: Any) -> str:
    """What whoever made a refund gave as its reason."""
    return str(_get(refund, "reason") or "refund")


def key_of(thing: Any) -> str:
    """The key of ours that a thing of Stripe's carries; empty for one that was not made by us."""
    metadata = _get(thing, "metadata") if thing is not None else None
    return str(_get(metadata, KEY) or "") if metadata else ""


def id_of(thing: Any) -> str:
    """What Stripe calls a thing that it names or, where that was asked for, shows whole; empty for none."""
    return str(thing if isinstance(thing, str) else thing["id"]) if thing else ""


def moment(seconds: int | None) -> datetime | None:
    """A time as Stripe says it."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _action_url(intent: Any) -> str:
    """Where the customer confirms."""
    redirect = _get(_get(intent, "next_action") or {}, "redirect_to_url") or {}
    return _get(redirect, "url") or ""


def _get(thing: Any, name: str) -> Any:
    """A field that may be missing: Stripe's objects know no `get`."""
    return thing[name] if name in thing else None  # noqa: SIM401
