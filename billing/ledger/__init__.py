"""The only truth about credits.

Nouns: `CreditPool` (a balance, the unit of locking), `CreditGrant` (a lot), `Posting` (one act), `LedgerEntry` (one
signed line of a posting against one lot), `Hold` and `HoldLine` (credits reserved), `MemberLimit`, `LedgerSeal`.

How it works: an act locks its pools in primary-key order and reads their open lots (`pool_store.open_pools`), changes
them in memory with pure arithmetic (`burn.py`), and writes postings, entries, lots and pools with one statement each
(`pool_store.write_pools`). Nothing else writes these tables.

Promises:
- granted = spent - reversed + expired + revoked + transferred + remaining, for each lot (a CHECK) and pool (`verify`).
- A posting happens once per (pool, reference); repeating it returns the first. Versions of a pool have no gap.
- Postings, entries and seals are append-only: privileges and triggers refuse everything else.
- What is available is right at every moment, also when no job has run.
- A shortfall is a lot too (kind `overage` or `overdraft`), so every credit ever spent has a lot and a cost.

Boundaries: prices, usage and money are other rooms'. Callers name their act by `reference`, plain text.
"""
