"""Staff pages of the metering room: single usage events, rejected ones, totals and imports."""

from billing.admin.metering import rejected_events

__all__ = ["rejected_events"]
