"""Staff pages of the accounts room: accounts, people, API keys, sessions, test clocks and the audit log."""

from billing.admin.accounts import accounts, api_keys, audit_log

__all__ = ["accounts", "api_keys", "audit_log"]
