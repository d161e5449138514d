"""What recurs: subscriptions, their renewals, changes and proration.

Nouns: `Subscription`, `SubscriptionPeriod` (what one period was billed as), `Allocation` (included credits of a cycle,
to be granted), `OverageCharge` (overage credits that stand on an invoice), `SubscriptionChange` (what was done, when,
by whom), `ScheduledChange`, `CouponRedemption`, `ContractTerms`.

Promises: one live subscription per account; each period is billed once, with its dates from the anchor, in one
transaction with its invoice, credits, coupons and notice, whatever crashes, runs twice or runs late; an allocation is
granted once; overage is invoiced once, credit by credit; a preview says what the act would; credits whose money a
bank has taken back are taken back once and come again once; a subscription that fails is parked and named, and the
others go on.

Boundaries: money is asked for and collected by payments, which knows nothing of subscriptions: this room looks at what
became of its collections. Locks: the subscription's row first, then the invoice's, then pools in primary-key order,
then the issuer's.
"""
