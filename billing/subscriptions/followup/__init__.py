"""What follows from other rooms: payments that came or failed, voided invoices, items that no invoice took."""
