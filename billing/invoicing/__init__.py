"""What is owed: invoices, their tax, credit notes, and the documents of them.

Nouns: `Issuer`, `TaxRate`, `Invoice`, `InvoiceLine`, `CreditNote`, `CreditNoteLine`, `PendingItem`.

Promises: lines plus tax equal the totals, to the minor unit; numbers are gapless per issuer, drawn in the transaction
that issues; what an issued document says never changes (triggers refuse it); a line's fulfilment (credits to grant)
happens once, keyed by the line, whatever number of reports of its payment arrive; credit notes never exceed their
invoice, line by line.

Boundaries: this room is told that money has come or gone (`settling.settle`); it never talks to a gateway. Locks: the
invoice's row first, then pools, and last the issuer's, whose numbers are drawn when nothing else is waited for.
"""
