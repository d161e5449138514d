"""What the business has earned, owes and is owed: reports for finance, read from documents and the ledger.

Nouns: a `Month` (calendar month, UTC) up to the report's end; a `Sheet` (one currency's deferred revenue rolled forward
month by month); `Earned` (recognised revenue of a plan or of packs, by meter); `Ageing` (what is owed, by how late);
`TaxLine` (tax of an issuer's documents by country and rate); `Document` (a double entry, balanced); `Check` (two ways
to the same sum, and whether they meet).

Promises: money is net and of one currency, never converted. What is earned follows the lots (L11): a spend and its
reversal earn what the credits have cost, an expiry is breakage; what pays for a time is earned with the time; anything
else when it is invoiced. Every sum is worked from entries and documents with their own dates, so a closed month stays
as it was. Opening + what came - what went = closing, to the minor unit; what sums of rounded figures leave over stands
in a column of its own, as does what no invoice paid for. `proof` works each total a second way and says so.

Boundaries: reads only, at any time, no locks; it passes over all entries of lots that have cost something. It earns
nothing and posts nothing: the journal is an export.
"""
