"""Powers over money: what transfers pay, what is written off, voided, issued, taken off and given back."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Model
from django.utils.translation import gettext as _

from billing.accounts import clocks
from billing.accounts.approvals import Worth
from billing.accounts.models import Approval
from billing.admin.powers.power import CannotBeDone, Payload, actor_of
from billing.invoicing import drafting, pending, settling
from billing.invoicing.models import Invoice, InvoiceLine, PendingItem
from billing.payments import by_hand, credit_notes, invoice_credits, refunding, transfers, voiding
from billing.payments.models import BankTransfer, Collection, Refund
from billing.purchases import refunds

ZERO = Decimal(0)


# --- Invoices --------------------------------------------------------------------------------------------------------
def invoice_of(asked: Payload) -> Model | None:
    """The invoice that is changed."""
    return Invoice.objects.get(pk=asked["invoice_id"])


def worth_of_what_is_owed(asked: Payload, now: datetime) -> Worth:
    """What the account would owe no more, or be asked for no more."""
    invoice = Invoice.objects.get(pk=asked["invoice_id"])
    return _money(invoice.owed, invoice.currency)


def worth_of_the_whole(asked: Payload, now: datetime) -> Worth:
    """The invoice's total; of a draft, with the tax that was worked out when it was written."""
    invoice = Invoice.objects.get(pk=asked["invoice_id"])
    return _money(abs(invoice.total), invoice.currency)


def void(approval: Approval, now: datetime) -> Model:
    """Take back an invoice of which nothing was paid."""
    return voiding.void(invoice_id=approval.payload["invoice_id"], now=now)


def write_off(approval: Approval, now: datetime) -> Model:
    """Call an invoice uncollectible, and stop collecting it where that is still going on."""
    invoice_id = approval.payload["invoice_id"]
    live = Collection.objects.filter(invoice=invoice_id, closed_at=None).first()
    if live is not None:
        by_hand.mark_uncollectible(collection_id=live.pk, now=now)
        return Invoice.objects.get(pk=invoice_id)
    return settling.mark_uncollectible(invoice_id=invoice_id, now=now)


def issue(approval: Approval, now: datetime) -> Model:
    """Issue a draft, with the tax and the parties of now."""
    invoice = drafting.issue_draft(invoice_id=approval.payload["invoice_id"], now=now)
    if abs(invoice.total) > approval.amount or invoice.currency != approval.currency:
        raise CannotBeDone(_("The draft says something else by now. Ask for it anew."))
    return invoice


def use_balance(approval: Approval, now: datetime) -> None:
    """Let the account's invoice balance pay what it can of the issued invoice."""
    invoice_credits.apply(invoice_id=approval.payload["invoice_id"], now=now)


def item_of(asked: Payload) -> Model | None:
    """The pending item that is cancelled."""
    return PendingItem.objects.get(pk=asked["item_id"])


def worth_of_item(asked: Payload, now: datetime) -> Worth:
    """What the item would add to, or take off, the account's next invoice."""
    item = PendingItem.objects.get(pk=asked["item_id"])
    return _money(abs(item.amount), item.currency)


def cancel_item(approval: Approval, now: datetime) -> Model:
    """Take an item off the account's next invoice."""
    return pending.cancel(item_id=approval.payload["item_id"], now=now)


# --- Refunds ---------------------------------------------------------------------------------------------------------
def invoice_of_line(asked: Payload) -> Model | None:
    """The invoice of the line that is refunded."""
    return InvoiceLine.objects.select_related("invoice").get(pk=asked["line_id"]).invoice


def worth_of_refund(asked: Payload, now: datetime) -> Worth:
    """What goes back, tax included."""
    plan = refunds.preview(line_id=asked["line_id"], credits=_credits(asked), now=now)
    return _money(plan.total, plan.currency)


def worth_of_credit(asked: Payload, now: datetime) -> Worth:
    """The credit note's total, tax included."""
    plan = credit_notes.preview(**_credit(asked))
    return _money(plan.total, plan.currency)


def credit(approval: Approval, now: datetime) -> Model:
    """Issue a credit note; the gateway is asked after the commit."""
    asked = approval.payload
    credit_notes.start(
        **_credit(asked), reason=approval.reason, reference=approval.reference, actor=actor_of(approval), now=now
    )
    return Invoice.objects.get(pk=asked["invoice_id"])


def _credit(asked: Payload) -> dict[str, Any]:
    return {
        "invoice_id": asked["invoice_id"],
        "amount": None if asked["amount"] is None else Decimal(asked["amount"]),
        "lines": {int(pk): Decimal(amount) for pk, amount in (asked["lines"] or {}).items()} or None,
        "refund_to": asked["refund_to"],
    }


def refund(approval: Approval, now: datetime) -> Model:
    """Take credits of a purchase back; the gateway is asked after the commit."""
    asked = approval.payload
    note = refunds.start(
        line_id=asked["line_id"], credits=_credits(asked), reason=approval.reason, actor=actor_of(approval),
        reference=approval.reference, now=now,
    )  # fmt: skip
    return note.invoice


def send_refund(approval: Approval, now: datetime) -> None:
    """Send the money of a refund that has been done; whatever the gateway answers is on the refund's row. Must run
    outside a transaction; without it the periodic check sends it a little later."""
    names = [room.reference_of(approval.reference) for room in (refunds, credit_notes)]
    for row in Refund.objects.filter(credit_note__account=approval.account_id, credit_note__reference__in=names):
        refunding.submit(refund_id=row.pk, now=now)


def _credits(asked: Payload) -> Decimal | None:
    return None if asked["credits"] is None else Decimal(asked["credits"])


# --- Bank transfers --------------------------------------------------------------------------------------------------
def transfer_of(asked: Payload) -> Model | None:
    """The transfer that is changed; of several, the first."""
    pk = asked["matches"][0]["transfer_id"] if "matches" in asked else asked["transfer_id"]
    return BankTransfer.objects.get(pk=pk)


def match_payload(chosen: Iterable[tuple[BankTransfer, Invoice, Decimal | None]]) -> dict[str, Any]:
    """What asks for transfers, or parts of them, to pay invoices; all of one currency."""
    return {
        "matches": [
            {"transfer_id": row.pk, "invoice_id": invoice.pk, "amount": None if amount is None else str(amount)}
            for row, invoice, amount in chosen
        ]
    }


def worth_of_matches(asked: Payload, now: datetime) -> Worth:
    """What would count as paid: whether the money has come is somebody's word."""
    total, currency = ZERO, ""
    for match in asked["matches"]:
        row = BankTransfer.objects.get(pk=match["transfer_id"])
        owed = Invoice.objects.get(pk=match["invoice_id"]).owed
        total += min(row.left, owed) if match["amount"] is None else Decimal(match["amount"])
        currency = row.currency
    return _money(total, currency)


def match(approval: Approval, now: datetime) -> Model:
    """Let transfers pay invoices; all of them or none."""
    for number, each in enumerate(approval.payload["matches"]):
        amount = None if each["amount"] is None else Decimal(each["amount"])
        transfers.match(
            transfer_id=each["transfer_id"], invoice_id=each["invoice_id"], amount=amount,
            key=f"{approval.reference}:{number}", now=now,
        )  # fmt: skip
    return BankTransfer.objects.get(pk=approval.payload["matches"][0]["transfer_id"])


def worth_of_return(asked: Payload, now: datetime) -> Worth:
    """What would count as sent back."""
    row = BankTransfer.objects.get(pk=asked["transfer_id"])
    return _money(row.left if asked["amount"] is None else Decimal(asked["amount"]), row.currency)


def mark_returned(approval: Approval, now: datetime) -> Model:
    """Record that money of a transfer was sent back."""
    asked = approval.payload
    amount = approval.amount if asked["amount"] is None else Decimal(asked["amount"])
    return transfers.mark_returned(transfer_id=asked["transfer_id"], amount=amount, note=approval.reason, now=now)


def _money(amount: Decimal, currency: str) -> Worth:
    return Worth(amount=amount, currency=currency if amount else "")


def time_of(approval: Approval, now: datetime) -> datetime:
    """What time it is for the account that the act is about."""
    return now if approval.account is None else clocks.time_of(approval.account, now)
