"""THE list of kinds: what someone can be told, who it concerns, and which function puts it into words."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.accounts.models import Role
from billing.notifications import about_logins, about_money, about_people, about_plans, about_staff, about_usage
from billing.notifications.messages import About, Message

MANAGERS = frozenset({Role.OWNER, Role.ADMIN})
EVERYBODY = frozenset(Role)


class Audience(Enum):
    """Whom a kind concerns.

    USAGE: every member may read it in the inbox; owners and admins get it by e-mail, others if they ask for it; an
    account without owner and admin has its billing address told. MONEY: owners, admins and the billing address.
    PERSON: the one address that its row names; in nobody's inbox, and nobody's choice.
    """

    USAGE = "usage"
    MONEY = "money"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of notification. `is_essential`: somebody who can act must hear of it, whatever they prefer."""

    name: str
    audience: Audience
    write: Callable[[About], Message]
    label: str | Promise = ""
    hint: str | Promise = ""
    is_essential: bool = False

    @property
    def readers(self) -> frozenset[Role]:
        """Whose inbox it is in."""
        if self.audience is Audience.PERSON:
            return frozenset()
        return EVERYBODY if self.audience is Audience.USAGE else MANAGERS


_LIST = (
    Kind(
        "threshold",
        Audience.USAGE,
        about_usage.threshold,
        _("Cycle used up"),
        _("75%, 90% and 100% of a cycle's credits are used."),
    ),
    Kind(
        "low_balance",
        Audience.USAGE,
        about_usage.low_balance,
        _("Low balance"),
        _("A pool falls below the number of credits set for it."),
    ),
    Kind(
        "expiring",
        Audience.USAGE,
        about_usage.expiring,
        _("Expiring credits"),
        _("30 days, 7 days and a day before credits expire."),
    ),
    Kind(
        "charge_refused",
        Audience.USAGE,
        about_usage.charge_refused,
        _("Blocked requests"),
        _("A request is blocked because a pool has too few credits: once a cycle for each pool."),
    ),
    Kind(
        "receipt",
        Audience.MONEY,
        about_money.receipt,
        _("Receipts"),
        _("An invoice is paid, by you or by automatic top-up."),
    ),
    Kind(
        "payment_failed",
        Audience.MONEY,
        about_money.payment_failed,
        _("Failed payments"),
        _("An invoice could not be paid."),
        is_essential=True,
    ),
    Kind("refund", Audience.MONEY, about_money.refund, _("Refunds"), _("Money goes back to you.")),
    Kind(
        "dispute",
        Audience.MONEY,
        about_money.dispute,
        _("Disputed payments"),
        _("A bank takes the money of an invoice back, or gives it back again."),
        is_essential=True,
    ),
    Kind(
        "credit_note",
        Audience.MONEY,
        about_money.credit_note,
        _("Credit notes"),
        _("An invoice is reduced or credited."),
    ),
    Kind(
        "top_up_failed",
        Audience.MONEY,
        about_money.top_up_failed,
        _("Failed top-up"),
        _("A rule of yours could not buy credits."),
        is_essential=True,
    ),
    Kind(
        "top_up_switched_off",
        Audience.MONEY,
        about_money.top_up_switched_off,
        _("Top-up switched off"),
        _("A rule of yours has stopped buying credits."),
        is_essential=True,
    ),
    Kind(
        "invoice_issued",
        Audience.MONEY,
        about_plans.invoice_issued,
        _("Invoices"),
        _("An invoice for your plan is issued."),
    ),
    Kind(
        "payment_overdue",
        Audience.MONEY,
        about_plans.payment_overdue,
        _("Overdue payments"),
        _("An invoice for your plan could not be collected, or was not paid in time."),
        is_essential=True,
    ),
    Kind(
        "payment_reminder",
        Audience.MONEY,
        about_plans.payment_reminder,
        _("Payment reminders"),
        _("An invoice for your plan is still not paid."),
        is_essential=True,
    ),
    Kind(
        "subscription_lapsed",
        Audience.MONEY,
        about_plans.subscription_lapsed,
        _("Plan lapsed"),
        _("Your plan was paused, changed or ended because an invoice was not paid."),
        is_essential=True,
    ),
    Kind(
        "trial_ending",
        Audience.MONEY,
        about_plans.trial_ending,
        _("Trial ends"),
        _("Your trial ends soon, and the plan begins."),
        is_essential=True,
    ),
    Kind(
        "subscription_started",
        Audience.MONEY,
        about_plans.subscription_started,
        _("Plan started"),
        _("A plan or a trial has begun."),
    ),
    Kind(
        "plan_changed",
        Audience.MONEY,
        about_plans.plan_changed,
        _("Plan changed"),
        _("Your plan or its seats were changed."),
    ),
    Kind(
        "change_scheduled",
        Audience.MONEY,
        about_plans.change_scheduled,
        _("Change scheduled"),
        _("Your plan or its seats change when the period ends."),
    ),
    Kind(
        "subscription_paused",
        Audience.MONEY,
        about_plans.subscription_paused,
        _("Plan paused"),
        _("Your plan is paused."),
    ),
    Kind(
        "subscription_resumed",
        Audience.MONEY,
        about_plans.subscription_resumed,
        _("Plan resumed"),
        _("Your plan goes on."),
    ),
    Kind(
        "subscription_cancelled",
        Audience.MONEY,
        about_plans.subscription_cancelled,
        _("Plan cancelled"),
        _("Your plan is cancelled and runs out."),
    ),
    Kind(
        "subscription_ended",
        Audience.MONEY,
        about_plans.subscription_ended,
        _("Plan ended"),
        _("Your plan is over."),
    ),
    Kind("invitation", Audience.PERSON, about_people.invitation),
    *(
        Kind(write.__name__, Audience.PERSON, write)
        for write in (
            about_logins.verify_email,
            about_logins.password_reset,
            about_logins.account_exists,
            about_logins.password_changed,
            about_logins.email_changed,
            about_logins.two_factor_on,
            about_logins.two_factor_off,
            about_logins.recovery_codes_made,
        )
    ),
    Kind("ledger_difference", Audience.PERSON, about_staff.ledger_difference),
    Kind("subscription_parked", Audience.PERSON, about_staff.subscription_parked),
    Kind("approval_waiting", Audience.PERSON, about_staff.approval_waiting),
    Kind("approval_decided", Audience.PERSON, about_staff.approval_decided),
)
KINDS = {kind.name: kind for kind in _LIST}


class UnknownKind(LookupError):
    """No kind has this name."""


def get_kind(name: str) -> Kind:
    """The kind of this name. Raises UnknownKind."""
    if name not in KINDS:
        raise UnknownKind(name)
    return KINDS[name]


def readable_by(role: str) -> list[Kind]:
    """The kinds that members of this role find in their inbox, in the order of the list."""
    return [kind for kind in _LIST if role in kind.readers]
