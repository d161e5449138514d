"""A small Stripe: the part of its API that we use, in a process of its own, with its memory.

Like Stripe it keeps the answer of each idempotency key, refuses a key's other request, lists newest first, and makes an
event of whatever happens. What a card does follows from its name: see `CARDS`. `/_control/` is the test's own door: let
a customer finish, break an answer, open a dispute, read the events, forget everything for the next test.

Run as `python -m tests.payments.stripe_server`; it prints its port.
"""

import itertools
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# Name of a payment method: what a charge of it comes to, with the customer there and without.
CARDS = {
    "pm_ok": ("succeeded", "succeeded"),
    "pm_declined": ("card_declined", "card_declined"),
    "pm_poor": ("insufficient_funds", "insufficient_funds"),
    "pm_stolen": ("stolen_card", "stolen_card"),
    "pm_expired": ("expired_card", "expired_card"),
    "pm_bank": ("requires_action", "authentication_required"),
    "pm_slow": ("processing", "processing"),
}
LOCK = threading.RLock()


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, **error: Any) -> None:
        super().__init__(error)
        self.status, self.error = status, error


class Store:
    """All that this Stripe remembers."""

    def __init__(self) -> None:
        self.things: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[str, int, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.faults: list[dict[str, str]] = []
        self.requests: list[str] = []
        self.numbers = itertools.count(1)

    def add(self, prefix: str, kind: str, **fields: Any) -> dict[str, Any]:
        thing = {"id": f"{prefix}_{next(self.numbers):06d}", "object": kind, "created": int(time.time()), **fields}
        self.things[thing["id"]] = thing
        return thing

    def get(self, reference: str) -> dict[str, Any]:
        if reference not in self.things:
            raise Refused(404, type="invalid_request_error", code="resource_missing", message=f"No such: {reference}")
        return self.things[reference]

    def tell(self, kind: str, thing: dict[str, Any]) -> None:
        event = {"id": f"evt_{next(self.numbers):06d}", "object": "event", "type": kind, "created": int(time.time())}
        self.events.append({**event, "data": {"object": json.loads(json.dumps(thing))}})

    def list(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        found = [
            thing
            for thing in self.things.values()
            if thing["object"] == kind and all(thing.get(name) == value for name, value in wanted.items())
        ]
        return found[::-1]


STORE = Store()


def settle(intent: dict[str, Any], result: str) -> None:
    """Let a charge end, or wait."""
    intent["next_action"] = None
    if result in ("succeeded", "processing", "canceled"):
        intent["status"] = result
        intent["amount_received"] = intent["amount"] if result == "succeeded" else 0
        STORE.tell(f"payment_intent.{result}", intent)
    elif result == "requires_action":
        intent["status"] = result
        url = f"https://hooks.stripe.example/3ds/{intent['id']}"
        intent["next_action"] = {"type": "redirect_to_url", "redirect_to_url": {"url": url}}
        STORE.tell("payment_intent.requires_action", intent)
    else:
        intent["status"] = "requires_payment_method"
        declined = {"code": result, "type": "card_error", "message": "Declined."}
        if result in ("insufficient_funds", "stolen_card"):
            declined |= {"code": "card_declined", "decline_code": result}
        intent["last_payment_error"] = declined
        STORE.tell("payment_intent.payment_failed", intent)


def create_intent(params: dict[str, Any]) -> dict[str, Any]:
    STORE.get(params["customer"])
    card = params["payment_method"]
    if card not in CARDS:
        raise Refused(400, type="invalid_request_error", code="resource_missing", message="No such PaymentMethod")
    off_session = params.get("off_session") == "true"
    if not off_session and not params.get("return_url"):
        raise Refused(400, type="invalid_request_error", code="parameter_missing", message="return_url")
    if int(params["amount"]) < 50:
        raise Refused(400, type="invalid_request_error", code="amount_too_small", message="Too small")
    intent = STORE.add(
        "pi", "payment_intent", amount=int(params["amount"]), amount_received=0, currency=params["currency"],
        customer=params["customer"], payment_method=card, metadata=params.get("metadata", {}), refunded=0,
        last_payment_error=None, next_action=None, description=params.get("description"),
    )  # fmt: skip
    settle(intent, CARDS[card][off_session])
    if intent["status"] == "requires_payment_method":
        raise Refused(402, **intent["last_payment_error"], payment_intent=intent)
    return intent


def create_refund(params: dict[str, Any]) -> dict[str, Any]:
    intent, amount = STORE.get(params["payment_intent"]), int(params["amount"])
    if intent["status"] != "succeeded" or intent["refunded"] + amount > intent["amount"]:
        raise Refused(400, type="invalid_request_error", code="charge_already_refunded", message="Too much.")
    intent["refunded"] += amount
    refund = STORE.add(
        "re", "refund", amount=amount, currency=intent["currency"], payment_intent=intent["id"],
        status=params.get("status", "succeeded"), metadata=params.get("metadata", {}), failure_reason=None,
    )  # fmt: skip
    STORE.tell("refund.created", refund)
    STORE.tell("charge.refunded", {"id": "ch_1", "object": "charge", "payment_intent": intent["id"]})
    return refund


def create_session(params: dict[str, Any]) -> dict[str, Any]:
    STORE.get(params["customer"])
    session = STORE.add(
        "cs", "checkout.session", mode=params["mode"], customer=params["customer"], status="open", setup_intent=None,
        success_url=params["success_url"], cancel_url=params["cancel_url"], metadata=params.get("metadata", {}),
    )  # fmt: skip
    session["url"] = f"https://checkout.stripe.example/c/{session['id']}"
    return session


def cancel_intent(intent: dict[str, Any]) -> dict[str, Any]:
    if intent["status"] != "requires_action":
        raise Refused(400, type="invalid_request_error", code="payment_intent_unexpected_state", message="Moved on.")
    settle(intent, "canceled")
    return intent


def control(path: str, params: dict[str, Any]) -> Any:
    """The test's own door."""
    if path == "forget":
        vars(STORE).update(vars(Store()))
    elif path == "faults":
        STORE.faults.append(params)
    elif path == "settle":
        settle(STORE.get(params["intent"]), params["result"])
    elif path == "card":
        session = STORE.get(params["session"])
        card = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2035}
        session["status"], method = params.get("status", "complete"), {"id": params["card"], "card": card}
        session["setup_intent"] = (
            {"id": "seti_1", "payment_method": method} if session["status"] == "complete" else None
        )
        STORE.tell("checkout.session.completed", session)
    elif path == "dispute":
        intent = STORE.get(params["intent"])
        dispute = STORE.add(
            "du", "dispute", amount=int(params.get("amount", intent["amount"])), currency=intent["currency"],
            payment_intent=intent["id"], reason="fraudulent", status=params.get("status", "needs_response"),
            evidence_details={"due_by": int(time.time()) + 864_000},
        )  # fmt: skip
        STORE.tell("charge.dispute.created", dispute)
        return dispute
    elif path == "refund":
        # As somebody does in the dashboard: without our key.
        intent = STORE.get(params["intent"])
        return create_refund({"payment_intent": intent["id"], "amount": intent["amount"], **params})
    elif path == "change":
        thing = STORE.get(params.pop("id"))
        kind = params.pop("event")
        thing.update(
            {
                name: int(value) if isinstance(value, str) and value.isdigit() else value
                for name, value in params.items()
            }
        )
        STORE.tell(kind, thing)
    elif path == "things":
        return list(STORE.things.values())
    elif path == "requests":
        return STORE.requests
    return STORE.events


def answer(method: str, path: str, params: dict[str, Any]) -> Any:
    """What the API says."""
    parts = path.removeprefix("/v1/").split("/")
    if method == "POST" and parts[-1] == "cancel":
        return cancel_intent(STORE.get(parts[1]))
    if parts == ["balance_transactions"]:
        return {"object": "list", "data": balance_transactions(), "has_more": False, "url": path}
    if method == "POST":
        makers = {"payment_intents": create_intent, "refunds": create_refund, "checkout/sessions": create_session}
        if "/".join(parts) == "customers":
            return STORE.add("cus", "customer", **params)
        return makers["/".join(parts)](params)
    kinds = {"payment_intents": ("payment_intent", "customer"), "refunds": ("refund", "payment_intent")}
    if "/".join(parts) in kinds:
        kind, by = kinds[parts[0]]
        found = STORE.list(kind, **{by: params[by]})
        if "starting_after" in params:
            found = found[[thing["id"] for thing in found].index(params["starting_after"]) + 1 :]
        limit = int(params.get("limit", 10))
        return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": path}
    thing = STORE.get(parts[-1])
    expands = [value for name, value in params.items() if name == "expand" for value in value]
    return {**thing, "payment_intent": STORE.get(thing["payment_intent"])} if "payment_intent" in expands else thing


def balance_transactions() -> list[dict[str, Any]]:
    """What has moved, each with its source expanded."""
    moved = []
    for thing in STORE.things.values():
        if thing["object"] == "payment_intent" and thing["status"] == "succeeded":
            charge = {**thing, "object": "charge", "id": f"ch_{thing['id']}", "payment_intent": thing["id"]}
            moved.append((thing["amount"], charge))
        is_refund = thing["object"] == "refund" and thing["status"] == "succeeded"
        if is_refund or (thing["object"] == "dispute" and not thing["status"].startswith(("warning", "won"))):
            moved.append((-thing["amount"], thing))
    payout = {"id": "po_1", "object": "payout", "currency": "eur", "amount": 1}
    return [{"object": "balance_transaction", "id": f"txn_{n}", "amount": amount, "source": source}
            for n, (amount, source) in enumerate([*moved, (-1, payout)])]  # fmt: skip


def unflatten(text: str) -> dict[str, Any]:
    """Stripe's form encoding: `metadata[a]=1` is a mapping, `expand[0]=x` a list."""
    params: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        outer, _, inner = name.partition("[")
        if not inner:
            params[outer] = value
        elif inner[:-1].isdigit() or inner == "]":
            params.setdefault(outer, []).append(value)
        else:
            params.setdefault(outer, {})[inner[:-1]] = value
    return params


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        with LOCK:
            if url.path.startswith("/_control/"):
                self._send(200, control(url.path.removeprefix("/_control/"), unflatten(url.query or body)))
                return
            STORE.requests.append(f"{method} {url.path}")
            fault = next((each for each in STORE.faults if each["at"] == f"{method} {url.path}"), None)
            if fault is not None:
                STORE.faults.remove(fault)
            if fault is None or fault["how"] == "lose":
                status, document = self._answer(method, url.path, url.query or body)
            else:
                status, document = int(fault["how"]), {"error": {"type": "api_error", "message": "Broken."}}
        if fault is not None and fault["how"] == "lose":
            # Done, and never told: the connection ends without an answer.
            self.close_connection = True
            return
        self._send(status, document)

    def _answer(self, method: str, path: str, text: str) -> tuple[int, Any]:
        if not self.headers.get("Authorization", "").startswith("Bearer sk_test_"):
            return 401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}
        key = self.headers.get("Idempotency-Key", "") if method == "POST" else ""
        if key in STORE.answers:
            first, status, document = STORE.answers[key]
            if first != text:
                return 400, {"error": {"type": "idempotency_error", "message": "Keys are for one request."}}
            return status, document
        try:
            status, document = 200, answer(method, path, unflatten(text))
        except Refused as refused:
            status, document = refused.status, {"error": refused.error}
        if key:
            STORE.answers[key] = (text, status, json.loads(json.dumps(document)))
        return status, document

    def _send(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
