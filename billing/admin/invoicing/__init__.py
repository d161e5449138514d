"""Staff pages of the invoicing room: issuers, invoices and drafts, credit notes, pending items, tax."""

from billing.admin.invoicing import exchange_rates, invoices, pending_items, tax

__all__ = ["exchange_rates", "invoices", "pending_items", "tax"]
