"""Who: customers' organisations, the people in them, and the keys their programs use.

Nouns: `User` (a person who can log in), `Account` (a customer organisation), `Member` (a person's place in an account),
`Invitation`, `ApiKey`, `IdempotencyKey` (the stored first answer to one request of one key).

Promises: an e-mail address belongs to one user, whatever its case; an account always keeps at least one owner once it
has one; a key's secret is stored as a SHA-256 digest only and shown once; a revoked or expired key fails on the next
request, because no process caches keys; one idempotency key of one API key runs at most once at a time.

Boundaries: this room knows nothing of credits. The main pool of an account is opened by `billing.ledger.pools`.
"""
