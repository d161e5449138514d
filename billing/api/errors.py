"""Errors as RFC 9457 problem documents: the only place where exceptions meet HTTP status codes."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import psycopg
import structlog
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from psycopg.errors import CheckViolation
from rest_framework import exceptions
from rest_framework.response import Response

from billing.accounts import clocks, idempotency, ids, members, throttles
from billing.api.fields import write_decimal
from billing.api.problems import KINDS
from billing.catalog import pricing
from billing.clock import advancing
from billing.invoicing import crediting, einvoice, issuing, settling, tax
from billing.ledger import holds, pool_acts, pools, posting
from billing.ledger.models import Hold, Posting
from billing.metering import ingest, reversal
from billing.metering.events import InvalidEvent
from billing.payments import credit_notes, methods, paying
from billing.payments.gateways import contract
from billing.purchases import checkout, offers, refunds, topups
from billing.subscriptions import guards
from billing.subscriptions.agreement import contracts
from billing.subscriptions.lifecycle import changes, pause_cancel, subscribing
from billing.tracing import requests

MEDIA_TYPE = "application/problem+json"
API_ROOT = "/api/"
AMOUNT_CHECKS = frozenset({"pool_amounts_sane", "grant_amounts_sane", "hold_amounts_sane"})

log = structlog.get_logger(__name__)


class Problem(Exception):
    """A refusal that says why: `code` is one of `problems.KINDS`.

    `errors` are (field, code, detail); `members` are further members of the document, e.g. `required`.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: Sequence[tuple[str, str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail or KINDS[code].meaning
        self.errors = errors
        self.headers = headers or {}
        self.members = members

    @property
    def status(self) -> int:
        return KINDS[self.code].status


def document(problem: Problem, *, instance: str) -> dict[str, object]:
    """The problem as JSON-ready members. `instance` names this one occurrence."""
    body: dict[str, object] = {
        "type": f"/api/v1/problems/{problem.code}",
        "title": KINDS[problem.code].title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "instance": f"urn:florin:request:{instance}",
        **problem.members,
    }
    if problem.errors:
        body["errors"] = [{"field": field, "code": code, "detail": detail} for field, code, detail in problem.errors]
    return body


def handle(error: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's exception handler: an exception becomes a problem document, an unknown one a 500 without leak."""
    request_id = context["view"].request_id
    problem = translate(error)
    if problem is None:
        log.error("api.internal_error", error_id=request_id, exc_info=error)
        problem = Problem("internal_error", error_id=request_id)
    headers = {**problem.headers}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    body = document(problem, instance=request_id)
    return Response(body, status=problem.status, headers=headers, content_type=MEDIA_TYPE)


def translate(error: Exception) -> Problem | None:
    """What an exception means to the caller; None when it is a fault of ours."""
    if isinstance(error, Problem):
        return error
    of_rooms = _translate_act(error) or _translate_money(error) or _translate_sale(error) or _translate_clock(error)
    return _translate_request(error) or of_rooms or _translate_subscription(error) or _translate_database(error)


def _translate_request(error: Exception) -> Problem | None:
    """What is wrong with the request itself."""
    match error:
        case exceptions.ValidationError():
            return Problem("invalid_request", errors=flatten(error.detail))
        case exceptions.NotAuthenticated():
            return Problem("authentication_required")
        case exceptions.AuthenticationFailed():
            return Problem("invalid_key")
        case exceptions.PermissionDenied() | DjangoPermissionDenied():
            return Problem("forbidden")
        case exceptions.NotFound() | Http404():
            return Problem("not_found")
        case exceptions.MethodNotAllowed():
            return Problem("method_not_allowed")
        case exceptions.UnsupportedMediaType():
            return Problem("unsupported_media_type")
        case exceptions.Throttled():
            return Problem(
                "too_many_requests", headers={"Retry-After": str(max(1, math.ceil(getattr(error, "wait", None) or 1)))}
            )
        case throttles.Throttled():
            return Problem("too_many_requests", headers={"Retry-After": str(error.retry_after_seconds)})
        case RequestDataTooBig():
            return Problem("payload_too_large")
        case exceptions.ParseError() | SuspiciousOperation():
            return Problem("bad_request")
        case idempotency.KeyReused():
            return Problem("idempotency_key_reused")
        case idempotency.InProgress():
            return Problem("request_in_progress", headers={"Retry-After": str(error.retry_after_seconds)})
    return None


def _translate_act(error: Exception) -> Problem | None:
    """Why a room refused to act."""
    match error:
        case pools.ExternalIdTaken():
            return Problem("external_id_taken")
        case pools.PoolKeyTaken():
            return Problem("pool_key_taken")
        case members.AlreadyMember():
            return Problem("already_member")
        case posting.InsufficientCredits():
            return _short("insufficient_credits", error.required, error.available)
        case pool_acts.SpendLimitReached():
            limit, spent = error.limit, error.spent
            left = write_decimal(max(limit - spent, Decimal(0)))
            return Problem("spend_limit", limit=write_decimal(limit), spent=write_decimal(spent), available=left)
        case posting.NotEnoughLeft():
            return _short("not_enough_left", error.required, error.free)
        case pool_acts.AccountParked():
            return Problem("account_parked")
        case pool_acts.AccountPaused():
            return Problem("paused")
        case posting.ReferenceConflict() | holds.HoldConflict():
            return Problem("reference_conflict")
        case posting.AlreadyReversed() | reversal.AlreadyReversed():
            return Problem("already_reversed")
        case posting.NotReversible():
            return Problem("not_reversible")
        case reversal.ReadingSettled():
            return Problem("reading_settled")
        case posting.GrantNotFound() | Posting.DoesNotExist() | Hold.DoesNotExist() | reversal.EventNotFound():
            return Problem("not_found")
        case holds.HoldClosed():
            return Problem("hold_closed", state=error.hold.state)
        case holds.HoldTooLong():
            return Problem("hold_too_long")
        case InvalidEvent():
            return Problem(error.code, error.detail, errors=[(error.field, error.code, error.detail)])
        case ingest.IdConflict():
            return Problem("id_conflict")
        case pricing.AmountTooLarge():
            return Problem("amount_too_large")
    return None


def _translate_money(error: Exception) -> Problem | None:
    """Why nothing could be paid, or no way to pay be kept."""
    match error:
        case contract.InvalidCard():
            return Problem("invalid_request", errors=[(name, "card", text) for name, text in error.errors.items()])
        case methods.MethodNotUsable():
            return Problem("not_found")
        case methods.TooManyMethods():
            return Problem("too_many_methods")
        case contract.NoCardPage():
            return Problem("no_card_page")
        case contract.NoGateway():
            return Problem("no_gateway")
        case contract.CardsOnPage():
            return Problem("cards_on_page")
        case contract.GatewayUnavailable():
            return Problem("gateway_unavailable", headers={"Retry-After": "10"})
    return None


def _translate_clock(error: Exception) -> Problem | None:
    """Why a test clock cannot be where it was asked to be."""
    match error:
        case advancing.NotSandbox():
            return Problem("no_sandbox")
        case advancing.HasInvoices():
            return Problem("account_invoiced")
        case clocks.HasClock():
            return Problem("test_clock_exists")
        case clocks.HasHistory() | clocks.ClockRunsBack():
            return Problem("test_clock_behind")
        case clocks.ClockMoving():
            return Problem("test_clock_moving")
        case advancing.TooFar():
            return Problem("test_clock_too_far")
    return None


def _translate_sale(error: Exception) -> Problem | None:
    """Why nothing could be sold, collected, topped up or taken back."""
    match error:
        case offers.PackNotForSale():
            return Problem("pack_not_for_sale")
        case offers.AmountNotOffered():
            least, most, step = map(write_decimal, (error.minimum, error.maximum, error.step))
            return Problem("amount_not_offered", minimum=least, maximum=most, step=step)
        case topups.ThresholdTooHigh():
            return Problem("threshold_too_high", credits=write_decimal(error.credits))
        case topups.CapTooLow():
            return Problem("cap_too_low", total=write_decimal(error.total), currency=error.currency)
        case topups.RuleNotFound():
            return Problem("not_found")
        case crediting.NotVoidable():
            return Problem("invoice_not_voidable")
        case einvoice.NotPossible():
            return Problem("no_e_invoice", str(error))
        case paying.InvoiceNotPayable() | settling.NotPayable():
            return Problem("invoice_not_payable")
        case paying.PaymentUnderWay():
            return Problem("payment_under_way", payment=ids.encode(ids.PAYMENT, error.payment.pk))
        case checkout.TokenConflict() | refunds.RefundConflict() | credit_notes.CreditConflict():
            return Problem("reference_conflict")
        case refunds.NothingToRefund():
            return Problem("nothing_to_refund")
        case crediting.NotCreditable() | credit_notes.NothingToCredit():
            return Problem("not_creditable")
        case credit_notes.TooMuch():
            return Problem("credit_too_high", left=write_decimal(error.left))
        case credit_notes.WrongDestination():
            return Problem("wrong_refund_to")
        case refunds.NotRefundable() | refunds.NoPaymentToRefund() | credit_notes.MoneyNotThere():
            return Problem("not_refundable")
        case issuing.NoIssuer():
            return Problem("no_issuer")
        case tax.TaxUnavailable():
            return Problem("tax_unavailable", headers={"Retry-After": "10"}, reason=error.reason)
        case tax.TaxNotPrepared():
            return Problem("tax_unavailable", headers={"Retry-After": "10"}, reason=str(error))
    return None


def _translate_subscription(error: Exception) -> Problem | None:
    """Why a subscription could not be begun, changed or ended."""
    match error:
        case guards.SubscriptionNotFound():
            return Problem("not_found")
        case guards.NotAllowed():
            return Problem("subscription_state", state=error.state)
        case guards.RenewalDue():
            return Problem("renewal_due", headers={"Retry-After": "5"})
        case guards.ReferenceConflict() | subscribing.ReferenceTaken():
            return Problem("reference_conflict")
        case subscribing.AlreadySubscribed():
            return Problem("already_subscribed")
        case subscribing.PlanNotOffered() | subscribing.NoPrice():
            return Problem("plan_not_offered")
        case subscribing.SeatsNotOffered():
            return Problem("seats_not_offered", str(error).capitalize() + ".")
        case subscribing.CouponRefused():
            return Problem("coupon_refused", reason=error.reason.value)
        case changes.CurrencyFixed():
            return Problem("currency_fixed", currency=error.currency)
        case changes.NothingToChange():
            return Problem("nothing_to_change")
        case changes.InvoiceUnpaid():
            return Problem("invoice_unpaid")
        case changes.CreditsUsed():
            return Problem("credits_used")
        case changes.TotalChanged():
            return Problem("total_changed", total=write_decimal(error.total), currency=error.currency)
        case pause_cancel.NothingScheduled():
            return Problem("nothing_scheduled")
        case contracts.TermsInvalid():
            return Problem("invalid_request", errors=[(error.field, "invalid", str(error))])
        case contracts.TermsOverlap():
            return Problem("terms_overlap", terms=ids.encode(ids.CONTRACT_TERMS, error.other.pk))
    return None


def _translate_database(error: Exception) -> Problem | None:
    """What the database refused. Django wraps what psycopg raises, but not on the pipelined path."""
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError) or isinstance(error, OperationalError):
        log.error("api.database_unavailable", exc_info=error)
        return Problem("unavailable", headers={"Retry-After": "1"})
    is_overflow = isinstance(cause, psycopg.errors.NumericValueOutOfRange)
    if is_overflow or (isinstance(cause, CheckViolation) and cause.diag.constraint_name in AMOUNT_CHECKS):
        # Sums that outgrow a column are the caller's doing; that a check says so may also be a fault of ours.
        log.warning("api.amount_too_large", exc_info=error)
        return Problem("amount_too_large")
    return None


def _short(code: str, required: Decimal, available: Decimal) -> Problem:
    return Problem(code, required=write_decimal(required), available=write_decimal(available))


def flatten(detail: object, path: str = "") -> list[tuple[str, str, str]]:
    """DRF's nested error detail as (field, code, detail), fields as dotted paths: `events.3.quantity`."""
    if isinstance(detail, Mapping):
        return [
            line
            for name, inner in detail.items()
            for line in flatten(inner, path if name == "non_field_errors" else _join(path, str(name)))
        ]
    if isinstance(detail, list | tuple):
        lines: list[tuple[str, str, str]] = []
        for index, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list | tuple)
            lines += flatten(inner, _join(path, str(index)) if nested else path)
        return lines
    return [(path, getattr(detail, "code", None) or "invalid", str(detail))]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# Django's own handlers (named in config/urls.py), for what never reaches a view of the API.


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that Django refuses, e.g. for a host name that is not ours, or that the guard does, with a reason."""
    if not request.path.startswith(API_ROOT):
        return defaults.bad_request(request, exception)
    if isinstance(exception, RequestDataTooBig):
        return _plain(Problem("payload_too_large"))
    return _plain(Problem("bad_request", str(exception) if isinstance(exception, BadRequest) else ""))


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Something that Django forbids."""
    if not request.path.startswith(API_ROOT):
        return defaults.permission_denied(request, exception)
    return _plain(Problem("forbidden"))


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An address that nothing answers."""
    if not request.path.startswith(API_ROOT):
        return defaults.page_not_found(request, exception)
    return _plain(Problem("not_found"))


def handler500(request: HttpRequest) -> HttpResponse:
    """A fault outside any view; Django has logged it."""
    if not request.path.startswith(API_ROOT):
        return defaults.server_error(request)
    error_id = requests.current_id()
    log.error("api.internal_error", error_id=error_id)
    return _plain(Problem("internal_error", error_id=error_id))


def _plain(problem: Problem) -> JsonResponse:
    body = document(problem, instance=requests.current_id())
    return JsonResponse(body, status=problem.status, content_type=MEDIA_TYPE)
