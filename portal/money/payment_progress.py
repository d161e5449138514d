"""How the payment of an invoice stands, for a page that waits for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpRequest, HttpResponse
from django_htmx.http import HttpResponseClientRefresh

from billing.invoicing.models import Invoice
from billing.payments import collecting
from billing.payments.models import Payment
from billing.subscriptions.followup import payment_news

# How much of what follows from a payment is seen to at once; the rest is a worker's.
FOLLOWED_UP_AT_ONCE = 5

# A page asks often at first, when most payments are decided, and seldom once it takes longer.
SOON = timedelta(minutes=1)
FAST_SECONDS, SLOW_SECONDS = 2, 15


@dataclass(frozen=True, slots=True)
class Progress:
    """`state` is `paid`, `void`, or while money is owed the last payment's own: `failed`, `requires_action`,
    `processing` (also while it is only begun), `unknown`; `open` when none has been tried."""

    state: str
    payment: Payment | None
    every_seconds: int

    @property
    def is_waiting(self) -> bool:
        """Whether the page should look again by itself."""
        return self.state in ("requires_action", "processing", "unknown")

    @property
    def is_payable(self) -> bool:
        """Whether another attempt may be made."""
        return self.state in ("failed", "open")


def read_progress(invoice: Invoice, payment: Payment | None, *, now: datetime) -> Progress:
    """How things stand by the invoice and the last payment of it."""
    is_young = payment is not None and now - payment.created_at < SOON
    return Progress(_state(invoice, payment), payment, FAST_SECONDS if is_young else SLOW_SECONDS)


def answer_poll(request: HttpRequest, progress: Progress) -> HttpResponse | None:
    """What a waiting page gets that looks again: nothing while all is as it shows, else the order to load anew.

    None when the request is no such look.
    """
    if not getattr(request, "htmx", False) or "state" not in request.GET:
        return None
    shown = (request.GET["state"], request.GET.get("every"))
    if shown == (progress.state, str(progress.every_seconds)):
        return HttpResponse(status=204)
    return HttpResponseClientRefresh()


def _state(invoice: Invoice, payment: Payment | None) -> str:
    if invoice.state == Invoice.State.PAID:
        return "paid"
    if invoice.state == Invoice.State.VOID:
        return "void"
    if payment is None:
        return "open"
    if payment.state == Payment.State.SUCCEEDED:
        # It has paid a part, or went back unneeded; else who sees it before the invoice's state has read in between.
        is_over = payment.amount <= invoice.amount_paid or payment.amount_refunded == payment.amount
        return "open" if is_over else "processing"
    return "processing" if payment.state == Payment.State.CREATED else payment.state


def settle(invoice: Invoice, *, now: datetime) -> None:
    """See to what follows from an invoice that has just been paid, instead of waiting for a worker."""
    invoice.refresh_from_db(fields=["state"])
    if invoice.state == Invoice.State.PAID and hasattr(invoice, "collection"):
        collecting.look(collection_id=invoice.collection.pk, now=now)
        payment_news.follow_up(now=now, limit=FOLLOWED_UP_AT_ONCE, account_id=invoice.account_id)
