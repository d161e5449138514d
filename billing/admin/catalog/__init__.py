"""Staff pages of the catalog room: meters, rate cards, plans, packs, coupons and dunning policies."""

from billing.admin.catalog import coupons, dunning_policies, meters, packs, plans, rate_cards

__all__ = ["coupons", "dunning_policies", "meters", "packs", "plans", "rate_cards"]
