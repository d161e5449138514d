"""The three roles of staff, as groups with the least they need: pricing, finance, support.

Who may give rights to others, issue API keys or edit groups is nobody of these: only superusers. `ensure` makes the
groups that are missing and leaves those that exist as staff have set them; `migrate` calls it, `make_roles` too.
"""

from dataclasses import dataclass

from django.contrib.auth.models import Group, Permission

# What everybody in the office may look at.
_OFFICE = (
    "view_account", "view_accountnote", "add_accountnote", "view_creditpool", "view_meter", "view_ratecard",
    "view_ratecardversion", "view_rate", "view_pack", "view_packtier", "view_dailyusage", "view_plan",
    "view_planversion", "view_planprice", "view_coupon", "view_dunningpolicy", "view_subscription",
    "view_contractterms",
)  # fmt: skip
_LEDGER = ("view_creditgrant", "view_posting", "view_hold", "view_approval")
_DOCUMENTS = (
    "view_invoice", "view_invoiceline", "view_creditnote", "view_creditnoteline", "view_payment", "view_paymentmethod",
    "view_refund", "view_invoicecredit", "view_dispute", "view_purchase", "view_topuprule", "view_topup",
    "view_collection",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StaffRole:
    """A group: its name, what it is for, and the codenames of what it may do."""

    name: str
    purpose: str
    permissions: frozenset[str]


PRICING = StaffRole(
    "Pricing",
    "Meters, rate cards, packs, plans, coupons and who has which card. Touches no credits and no money.",
    frozenset(
        {
            *_OFFICE, "view_figures", "add_meter", "change_meter", "add_ratecard", "change_ratecard",
            "change_ratecardversion", "delete_ratecardversion", "add_rate", "change_rate", "delete_rate", "add_pack",
            "change_pack", "add_packtier", "change_packtier", "delete_packtier", "view_ratecardassignment",
            "add_ratecardassignment", "change_ratecardassignment", "add_plan", "change_plan", "change_planversion",
            "delete_planversion", "add_planprice", "change_planprice", "delete_planprice", "add_coupon",
            "change_coupon",
        }
    ),
)  # fmt: skip
FINANCE = StaffRole(
    "Finance",
    "Invoices, payments, refunds, tax; grants and adjustments; decides what others ask for; reads the audit log.",
    frozenset(
        {
            *_OFFICE, *_LEDGER, *_DOCUMENTS, "view_figures", "view_staffact", "decide_approval", "add_creditgrant",
            "grant_any_kind", "add_posting", "add_refund", "change_payment", "change_refund", "view_gatewayevent",
            "change_gatewayevent", "view_issuer", "add_issuer", "change_issuer", "add_creditpool",
            "change_creditpool", "view_taxrate", "add_taxrate", "change_taxrate",
            "view_taxexemption", "add_taxexemption", "change_taxexemption", "view_taxnumbercheck",
            "change_taxnumbercheck", "view_taxcalculation", "view_ledgerseal",
            "change_account", "change_subscription", "add_contractterms", "add_dunningpolicy", "change_dunningpolicy",
            "add_invoice", "change_invoice", "view_pendingitem", "change_pendingitem", "view_exchangerate",
            "change_collection",
            "view_banktransfer", "add_banktransfer", "change_banktransfer",
        }
    ),
)  # fmt: skip
SUPPORT = StaffRole(
    "Support",
    "Customers' people, usage and notifications; goodwill within the limit; sees the portal as the customer does.",
    frozenset(
        {
            *_OFFICE, *_LEDGER, *_DOCUMENTS, "change_account", "impersonate_account", "view_member", "add_member",
            "change_member", "view_user", "end_sessions", "view_usageevent", "add_eventreversal", "view_rejectedevent",
            "change_rejectedevent", "view_importrun", "view_notification", "change_notification",
            "view_notificationdelivery", "change_notificationdelivery", "add_creditgrant", "change_subscription",
        }
    ),
)  # fmt: skip
ROLES = (PRICING, FINANCE, SUPPORT)


class UnknownPermission(Exception):
    """A role names a permission that no table has."""


def ensure(*, reset: bool = False) -> list[str]:
    """Make the groups that are missing; with `reset`, give all three back the rights they begin with. The names of
    those made or reset. Running it again does nothing. Raises UnknownPermission.
    """
    done = []
    for role in ROLES:
        group, is_new = Group.objects.get_or_create(name=role.name)
        if not is_new and not reset:
            continue
        permissions = Permission.objects.filter(content_type__app_label="billing", codename__in=role.permissions)
        if missing := role.permissions - set(permissions.values_list("codename", flat=True)):
            raise UnknownPermission(", ".join(sorted(missing)))
        group.permissions.set(permissions)
        done.append(role.name)
    return done
