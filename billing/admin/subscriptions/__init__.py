"""Staff pages of the subscriptions room: subscriptions, what staff do to them, contract terms."""

from billing.admin.subscriptions import contract_terms, subscriptions

__all__ = ["contract_terms", "subscriptions"]
