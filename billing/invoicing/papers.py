"""The documents that notifications are about, for mails to who cannot fetch them in the portal."""

from billing.invoicing import documents
from billing.invoicing.models import CreditNote, Invoice
from billing.notifications.emails import Paper
from billing.notifications.models import Notification

# Kinds whose `number` is a credit note's; that of others is an invoice's.
ABOUT_CREDIT_NOTES = ("refund", "credit_note", "dispute")


def papers_of(notification: Notification) -> list[Paper]:
    """The credit note or invoice that a notification names, of its own account, as a PDF; none where it names none."""
    payload, own = notification.payload, {"account": notification.account_id}
    if notification.kind in ABOUT_CREDIT_NOTES:
        note = CreditNote.objects.filter(number=payload.get("number") or None, **own).first()
        if note is not None:
            return [Paper(f"{note.number}.pdf", documents.credit_note_pdf(note.pk))]
    invoice_id = payload.get("invoice_id")
    invoice = Invoice.objects.filter(pk=int(invoice_id), **own).first() if invoice_id else None
    if invoice is None or invoice.number is None:
        return []
    return [Paper(f"{invoice.number}.pdf", documents.invoice_pdf(invoice.pk))]
