"""What the kinds about plans are given and what they say of it."""

from typing import Any

MONEY = {"total": "119.000", "currency": "EUR"}
OWED = {"invoice_id": 7, "number": "INV-7", **MONEY}
PAYLOADS: dict[str, dict[str, Any]] = {
    "invoice_issued": {
        **OWED, "due_at": "2025-03-15T12:00:00+00:00", "plan_name": "Team",
        "period_starts_at": "2025-02-28T23:00:00+00:00", "period_ends_at": "2025-03-31T22:00:00+00:00",
        "credits": "10000.000000", "is_automatic": "yes",
    },
    "payment_overdue": {
        **OWED, "reason": "The card was declined.", "next_try_at": "2025-03-03T23:00:00+00:00", "is_automatic": "yes",
    },
    "payment_reminder": {
        **OWED, "reason": "The card was declined.", "next_try_at": "2025-03-07T23:00:00+00:00", "is_automatic": "yes",
        "final_at": "2025-03-21T23:00:00+00:00", "final_act": "pause",
    },
    "subscription_lapsed": {**OWED, "plan_name": "Team", "act": "pause"},
    "trial_ending": {"plan_name": "Team", "ends_at": "2025-03-03T23:00:00+00:00", **MONEY},
    "subscription_started": {
        "plan_name": "Team", "credits": "10000.000000", "seats": 3, "period_ends_at": "2025-03-31T22:00:00+00:00",
    },
    "plan_changed": {
        "plan_name": "Scale", "previous_plan_name": "Team", "credits": "50000.000000",
        "period_ends_at": "2025-03-31T22:00:00+00:00",
    },
    "change_scheduled": {
        "plan_name": "Basic", "previous_plan_name": "Team", "ends_at": "2025-03-31T22:00:00+00:00",
    },
    "subscription_paused": {"plan_name": "Team", "ends_at": "2025-03-31T22:00:00+00:00"},
    "subscription_resumed": {"plan_name": "Team", "period_ends_at": "2025-03-31T22:00:00+00:00"},
    "subscription_cancelled": {"plan_name": "Team", "ends_at": "2025-03-31T22:00:00+00:00"},
    "subscription_ended": {"plan_name": "Team", "ends_at": "2025-03-31T22:00:00+00:00"},
}  # fmt: skip
SUBJECTS = {
    "invoice_issued": "Acme: Invoice INV-7 for €119.00",
    "payment_overdue": "Acme: We could not collect €119.00 for invoice INV-7",
    "payment_reminder": "Acme: Reminder: invoice INV-7 for €119.00 is not paid",
    "subscription_lapsed": "Acme: Your plan Team is paused: invoice INV-7 is not paid",
    "trial_ending": "Acme: Your trial of Team ends on 4 March 2025",
    "subscription_started": "Acme: Your plan Team has begun",
    "plan_changed": "Acme: Your plan is now Scale",
    "change_scheduled": "Acme: Your plan changes to Basic on 1 April 2025",
    "subscription_paused": "Acme: Your plan Team is paused",
    "subscription_resumed": "Acme: Your plan Team goes on",
    "subscription_cancelled": "Acme: Your plan Team is cancelled",
    "subscription_ended": "Acme: Your plan Team has ended",
}
SAYS = {
    "invoice_issued": ["1 March 2025 to 31 March 2025", "€119.00", "10,000", "15 March 2025", "you need do nothing"],
    "payment_overdue": ["The card was declined.", "We try again on 4 March 2025", "Nothing was charged"],
    "payment_reminder": ["paid before 22 March 2025, your plan is paused", "8 March 2025", "The card was declined."],
    "subscription_lapsed": ["No credits can be used until €119.00 is paid."],
    "trial_ending": ["On 4 March 2025 the plan Team begins", "€119.00", "nothing is charged then"],
    "subscription_started": ["10,000", "Seats", "1 April 2025"],
    "plan_changed": ["from Team to Scale", "50,000"],
    "change_scheduled": ["you can withdraw the change"],
    "subscription_paused": ["until 31 March 2025"],
    "subscription_resumed": ["It renews by itself again", "1 April 2025"],
    "subscription_cancelled": ["until 31 March 2025", "take the cancellation back"],
    "subscription_ended": ["Its last day was 31 March 2025"],
}
