"""What is sold: meters, rate cards and packs.

Nouns: `Meter`, `RateCard`, `RateCardVersion`, `Rate`, `RateCardAssignment`, `Pack`, `PackTier`.

Promises: a published rate-card version and its rates never change (triggers refuse it), so a price can be cached for
ever by version id; `pricing.py` is pure arithmetic and the only place that rounds; the charge for usage is
f(cumulative after) - f(cumulative before), so events in any grouping cost the same; for each account and moment one
rate card applies: contract or grandfathered, else experiment, else plan, else the default.

Boundaries: this room knows prices, never balances or usage.
"""
