"""Staff pages of the payments room: payments, refunds, disputes, collections, bank transfers, the sandbox."""

from billing.admin.payments import collections, payments, sandbox, transfers

__all__ = ["collections", "payments", "sandbox", "transfers"]
