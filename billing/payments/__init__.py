"""How money comes in and goes back: gateways, payment methods, attempts, refunds, and what gateways report.

Nouns: `PaymentMethod`, `Payment` (one attempt to collect an invoice), `Refund`, `GatewayEvent` (a webhook received),
`BankTransfer` (matched with invoices, each match a payment), `Dispute`, `Collection`; `CardSetup` and `GatewayCustomer`
(cards typed on a gateway's page); `SandboxCard`, `SandboxCharge`, `SandboxRefund`, `SandboxEvent` are the sandbox
gateway's own memory.

Promises: a payment has one idempotency key, always; at most one payment of an invoice is under way at a time; a
gateway is never called inside a database transaction; an answer that did not come makes the payment `unknown`, and
while it is unknown nothing charges again: the gateway is asked, on a schedule of rows; a payment that has succeeded
stays succeeded, in whatever order and however often reports arrive; a report about another amount, currency or charge
is refused and shown to staff; money that an invoice no longer takes goes back; no refunds exceed their payment; of a
bank transfer no more is matched than came; what a disputed payment bought is taken back once, and comes again if it is
won; a provider's webhook is only a hint to ask.

Boundaries: this room tells invoicing that money came (`settling.settle`) in the transaction that records it.
Locks: the invoice's row first, then its payment's, then what invoicing locks.
"""
