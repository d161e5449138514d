"""Stripe as a gateway, through its own library. Cards are typed on Stripe's pages; we keep what it calls them.

A charge is a PaymentIntent, confirmed as it is made, that carries our key (`metadata.florin_key`). Whether one exists
whose answer was lost is asked by listing the customer's, which sees every write at once, as searching does not. What a
webhook says is only a hint: the thing it is about is asked for, so that order, age and repeats do not matter.

One call takes at most FLORIN_STRIPE_TIMEOUT_SECONDS; the library does not retry, since our rows do.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import stripe
import structlog
from django.conf import settings

from billing.invoicing import stripe_units
from billing.payments.gateways import stripe_words
from billing.payments.gateways.contract import (
    Charge,
    Delivery,
    DisputeReport,
    GatewayUnavailable,
    HostedPage,
    InvalidWebhook,
    Movement,
    Outcome,
    Report,
    Return,
    Setup,
    SetupReport,
    refuse_in_transaction,
)
from billing.payments.models import Dispute

log = structlog.get_logger(__name__)

# How long a customer may take to confirm a charge at the bank before it is given up.
ACTION_LASTS = timedelta(hours=1)
# How old a webhook's signature may be, which bounds replays.
TOLERANCE_SECONDS = 300
# No customer has so many charges within the half day in which one may be looked for.
MOST_LISTED = 1000
CARDS = ["card"]


def charge(request: Charge, *, now: datetime) -> Outcome:
    """Take money. The key is sent as Stripe's idempotency key, made the customer's own, so a repeat within its day
    charges once and answers as the first did."""
    try:
        amount = stripe_units.exact(request.amount, request.currency)
    except stripe_units.NotChargeable:
        return stripe_words.failed("amount_not_chargeable")
    params: dict[str, Any] = {
        "amount": amount,
        "currency": request.currency.lower(),
        "customer": request.customer_reference,
        "payment_method": request.method_reference,
        "payment_method_types": CARDS,
        "confirm": True,
        "description": request.description,
        "metadata": {stripe_words.KEY: request.key},
    }
    if request.off_session:
        params["off_session"] = True
    else:
        params["return_url"] = request.return_url or settings.FLORIN_PUBLIC_URL
    options: Any = {"idempotency_key": f"{request.key}:{request.customer_reference}"}
    try:
        with _asking("charge", refusals=True):
            return stripe_words.charge_outcome(_client().v1.payment_intents.create(params, options))  # type: ignore[arg-type]
    except (stripe.CardError, stripe.InvalidRequestError) as error:
        # Declined; or Stripe has done nothing and will not: the card is gone, say, or the amount is not allowed.
        said = _said(error)
        if intent := said.get("payment_intent"):
            return stripe_words.charge_outcome(intent)
        log.warning("stripe.charge_refused", key=request.key, code=error.code, message=str(error))
        return stripe_words.failed(stripe_words.failure_code(said))


def find_charge(request: Charge, *, now: datetime) -> Outcome | None:
    """How the charge stands; one that has waited for its customer for an hour is given up first."""
    with _asking("find_charge"):
        intents = _client().v1.payment_intents
        if request.reference:
            intent: Any = intents.retrieve(request.reference)
        else:
            listed = intents.list({"customer": request.customer_reference, "limit": 100})
            intent = _with_key(listed.auto_paging_iter(), request.key)
        if intent is None:
            return None
        if intent["status"] == "requires_action" and now - _made_at(intent) >= ACTION_LASTS:
            # Refused if it has moved on in the meantime; then it is asked about again.
            intent = intents.cancel(intent["id"], {"cancellation_reason": "abandoned"})
        return stripe_words.charge_outcome(intent)


def refund(request: Return, *, now: datetime) -> Outcome:
    """Give money back, once per key."""
    if not request.amount:  # Less than Stripe can move.
        return Outcome(state="succeeded", reference="")
    try:
        amount = stripe_units.exact(request.amount, request.currency)
    except stripe_units.NotChargeable:
        return Outcome(state="failed", reference="", failure_message="Stripe cannot move this amount.")
    params: Any = {
        "payment_intent": request.charge_reference,
        "amount": amount,
        "metadata": {stripe_words.KEY: request.key},
    }
    options: Any = {"idempotency_key": f"{request.key}:{request.charge_reference}"}
    try:
        with _asking("refund", refusals=True):
            return stripe_words.refund_outcome(_client().v1.refunds.create(params, options))
    except stripe.InvalidRequestError as error:
        log.warning("stripe.refund_refused", key=request.key, code=error.code, message=str(error))
        return Outcome(state="failed", reference="", failure_message=f"Stripe says: {error.user_message}"[:300])


def find_refund(request: Return, *, now: datetime) -> Outcome | None:
    """How the refund stands; None when Stripe never heard of it."""
    with _asking("find_refund"):
        refunds = _client().v1.refunds
        if request.reference:
            found: Any = refunds.retrieve(request.reference)
        else:
            listed = refunds.list({"payment_intent": request.charge_reference, "limit": 100})
            found = _with_key(listed.auto_paging_iter(), request.key)
        return None if found is None else stripe_words.refund_outcome(found)


def make_customer(*, key: str, name: str, email: str) -> str:
    """A customer to keep cards for, once per key."""
    params: Any = {"name": name, "email": email, "metadata": {stripe_words.KEY: key}}
    with _asking("make_customer"):
        return _client().v1.customers.create(params, {"idempotency_key": key}).id


def begin_setup(*, key: str, customer_reference: str, return_url: str, cancel_url: str) -> HostedPage:
    """A page of Stripe's (Checkout in setup mode), where the customer types a card and the bank may ask for a proof."""
    params: Any = {
        "mode": "setup",
        "customer": customer_reference,
        "payment_method_types": CARDS,
        "success_url": return_url,
        "cancel_url": cancel_url,
        "metadata": {stripe_words.KEY: key},
    }
    with _asking("begin_setup"):
        options: Any = {"idempotency_key": f"{key}:{customer_reference}"}
        session = _client().v1.checkout.sessions.create(params, options)
        return HostedPage(session.id, session.url or "")


def find_setup(reference: str) -> Setup:
    """How the page stands."""
    with _asking("find_setup"):
        params: Any = {"expand": ["setup_intent.payment_method"]}
        session: Any = _client().v1.checkout.sessions.retrieve(reference, params)
        is_complete = session["status"] == "complete"
        return Setup(
            card=stripe_words.card_of(session["setup_intent"]["payment_method"]) if is_complete else None,
            is_over=session["status"] == "expired",
            key=stripe_words.key_of(session),
            customer_reference=stripe_words.id_of(session["customer"]),
        )


def open_webhook(*, headers: Mapping[str, str], body: bytes) -> Delivery:
    """Check the signature, against each secret that is good, and its age. Of the event only what it is about is kept:
    the rest is asked for. Raises InvalidWebhook."""
    header = {name.lower(): value for name, value in headers.items()}.get("stripe-signature", "")
    if not any(_is_signed(body, header, secret) for secret in settings.FLORIN_STRIPE_WEBHOOK_SECRETS):
        raise InvalidWebhook("the signature is wrong or old")
    try:
        event = json.loads(body)
        about = event["data"]["object"]
        payload = {"type": str(event["type"]), "created": event.get("created"), "object": str(about["object"])}
        return Delivery(event_id=str(event["id"]), kind=payload["type"], payload={**payload, "id": str(about["id"])})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidWebhook("not an event") from error


def _is_signed(body: bytes, header: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(body, header, secret, TOLERANCE_SECONDS))
    # The library lets what it stumbles over in a forged header through.
    except (stripe.SignatureVerificationError, ValueError, TypeError):
        return False


def read_webhook(payload: Mapping[str, Any]) -> Report | SetupReport | DisputeReport | None:
    """Ask Stripe for what the event is about. Raises ValueError for what is ours and yet not of our making."""
    kind, reference = str(payload["type"]), str(payload["id"])
    try:
        with _asking("read_webhook", refusals=True):
            if kind.startswith("payment_intent."):
                intent: Any = _client().v1.payment_intents.retrieve(reference)
                key = stripe_words.key_of(intent)
                return Report("charge", key, stripe_words.charge_outcome(intent)) if key else None
            if kind.startswith("refund.") or kind == "charge.refund.updated":
                return _read_refund(reference)
            if kind.startswith("charge.dispute."):
                return _read_dispute(reference)
    except stripe.InvalidRequestError as error:
        raise ValueError(f"Stripe does not know {reference}: {error.user_message}") from error
    return SetupReport(reference) if kind.startswith("checkout.session.") else None


def _read_refund(reference: str) -> Report | DisputeReport | None:
    """A refund of ours, or one that somebody made in Stripe's dashboard of a charge of ours."""
    params: Any = {"expand": ["payment_intent"]}
    found: Any = _client().v1.refunds.retrieve(reference, params)
    if key := stripe_words.key_of(found):
        return Report("refund", key, stripe_words.refund_outcome(found))
    key, currency = stripe_words.key_of(found["payment_intent"]), found["currency"].upper()
    if not key:
        return None
    return DisputeReport(
        key=key,
        reference=reference,
        amount=stripe_units.amount_of(found["amount"], currency),
        currency=currency,
        reason=stripe_words.refund_reason(found),
        state=stripe_words.made_refund_state(found["status"]),
        respond_by=None,
        charge_reference=stripe_words.id_of(found["payment_intent"]),
        kind=Dispute.Kind.REFUND.value,
    )


def _read_dispute(reference: str) -> DisputeReport | None:
    params: Any = {"expand": ["payment_intent"]}
    found: Any = _client().v1.disputes.retrieve(reference, params)
    key = stripe_words.key_of(found["payment_intent"])
    if not key:
        return None
    currency = found["currency"].upper()
    return DisputeReport(
        key=key,
        reference=reference,
        amount=stripe_units.amount_of(found["amount"], currency),
        currency=currency,
        reason=found["reason"],
        state=stripe_words.dispute_state(found["status"]),
        respond_by=stripe_words.moment(found["evidence_details"]["due_by"]),
        charge_reference=stripe_words.id_of(found["payment_intent"]),
    )


def list_movements() -> Iterator[Movement]:
    """Stripe's balance transactions of charges, refunds and disputes, in the currency that was charged: they
    themselves are in that of the bank account."""
    params: Any = {"limit": 100, "expand": ["data.source"]}
    with _asking("list_movements"):
        for each in _client().v1.balance_transactions.list(params).auto_paging_iter():
            # The library knows the types of what it lists, and not that sources are expanded.
            transaction: Any = each
            source = transaction["source"]
            if source is None or source["object"] not in ("charge", "refund", "dispute"):
                continue
            currency = source["currency"].upper()
            amount = stripe_units.amount_of(source["amount"], currency)
            yield Movement(
                charge_reference=stripe_words.id_of(source["payment_intent"]),
                amount=amount if transaction["amount"] > 0 else -amount,
                currency=currency,
                key=stripe_words.key_of(source) if source["object"] == "charge" else "",
            )


@lru_cache(maxsize=4)
def _connect(key: str, base: str, timeout_seconds: int) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        base_addresses={"api": base} if base else {},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=timeout_seconds),
    )


def _client() -> stripe.StripeClient:
    return _connect(
        settings.FLORIN_STRIPE_SECRET_KEY, settings.FLORIN_STRIPE_API_BASE, settings.FLORIN_STRIPE_TIMEOUT_SECONDS
    )


@contextmanager
def _asking(what: str, *, refusals: bool = False) -> Iterator[None]:
    """Turn every error that leaves open what Stripe did into GatewayUnavailable; with `refusals`, what Stripe refused
    comes through."""
    refuse_in_transaction()
    try:
        yield
    except stripe.IdempotencyError as error:
        raise ValueError(str(error)) from error
    except stripe.StripeError as error:
        if refusals and isinstance(error, stripe.CardError | stripe.InvalidRequestError):
            raise
        level = log.error if isinstance(error, stripe.AuthenticationError | stripe.PermissionError) else log.warning
        level("stripe.no_answer", asked=what, error=type(error).__name__, status=error.http_status, message=str(error))
        raise GatewayUnavailable(str(error)) from error


def _said(error: stripe.StripeError) -> dict[str, Any]:
    """What Stripe says of the error."""
    body = error.json_body
    return dict(body.get("error", {})) if isinstance(body, dict) else {"code": error.code}


def _with_key(things: Iterator[Any], key: str) -> Any:
    """The first of the newest that carries the key."""
    for number, thing in enumerate(things):
        if stripe_words.key_of(thing) == key:
            return thing
        if number >= MOST_LISTED:
            break
    return None


def _made_at(thing: Any) -> datetime:
    made = stripe_words.moment(thing["created"])
    assert made is not None  # noqa: S101
    return made
