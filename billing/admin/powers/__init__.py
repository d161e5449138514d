"""The list of everything staff can do that moves money, credits or rights, and how each act is limited.

Promises
- Every page and list action that staff can send something to is a door. Each door stands in this file: in `POWERS`,
  with what it is worth and what it does, or in `HARMLESS`, with why it moves nothing. `tests/admin/test_powers.py`
  finds the doors in the admin's own addresses and actions, so a new one that is in neither fails the build.
- What a power is worth is worked out by its `measure`, in credits and in money (credits x cost). Within one person's
  limit of the day it is done immediately, beyond it waits for a second person. What no figure says always waits.
- Each act, and each attempt that was refused, is in the audit log with the client's address; of acts, with the row
  before and after.

How to register a new act
1. Write `measure(payload, now) -> Worth`, `do(approval, now) -> row` and, where a row exists beforehand,
   `subject(payload) -> row`, in the file of its subject in this folder. The payload is JSON and holds everything the
   act takes. `do` raises what the rooms raise; `acts.REFUSALS` says it in words. `do` uses `approval.reference` as the
   reference of what it makes, so that it happens once. What asks a gateway goes to `finish`, after the commit.
2. Enter a `Power` in `POWERS`: its name (at most 20 characters), a label, the permission, and its doors: names of
   addresses (`billing_invoice_void`), of a table's own form (`billing_creditpool_change`), or of list actions
   (`billing_refund.try_again`).
3. In the page: `asking.ask(request, form, act=name, account_id=..., payload=...)` with an `OnceForm`, then
   `asking.answer(...)`, which says what was done or leads to the queue; `asking.warning(request, name, payload)` before
   it is confirmed. Neither the page nor `do` writes to the audit log or looks at the limit.
4. Add how it is sent to `CASES` in `tests/admin/test_powers.py`; the tests of all powers then cover it.
"""

from django.utils.translation import gettext_lazy as _

from billing.admin.powers import credits, money, plans, rights
from billing.admin.powers.harmless import HARMLESS
from billing.admin.powers.power import CannotBeDone, Payload, Power, boundless

__all__ = ["HARMLESS", "POWERS", "CannotBeDone", "Payload", "Power"]

POWERS: dict[str, Power] = {
    # --- Credits ------------------------------------------------------------------------------------------------------
    "grant": Power(
        _("Grant credits"), "billing.add_creditgrant", ("billing_creditgrant_add",),
        measure=credits.worth_of_grant, do=credits.grant,
    ),
    "revoke": Power(
        _("Revoke credits"), "billing.add_creditgrant", ("billing_creditgrant_revoke",),
        measure=credits.worth_of_revocation, do=credits.revoke, subject=credits.lot_of,
    ),
    "adjust": Power(
        _("Adjust a balance"), "billing.grant_any_kind", ("billing_creditpool_adjust",),
        measure=credits.worth_of_adjustment, do=credits.adjust, subject=credits.pool_of,
    ),
    "reverse": Power(
        _("Reverse a posting"), "billing.add_posting", ("billing_posting_reverse",),
        measure=credits.worth_of_reversal, do=credits.reverse, subject=credits.posting_of,
    ),
    "unuse": Power(
        _("Reverse a usage event"), "billing.add_eventreversal", ("billing_usage_event_reverse",),
        measure=credits.worth_of_event, do=credits.reverse_event,
    ),
    "pool_policy": Power(
        _("Change what a pool may overdraw"), "billing.change_creditpool",
        ("billing_creditpool_change", "billing_creditpool_add"),
        measure=credits.worth_of_policy, do=credits.set_policy, subject=credits.pool_of,
    ),
    # --- Money --------------------------------------------------------------------------------------------------------
    "refund": Power(
        _("Refund a purchase"), "billing.add_refund", ("billing_invoice_refund",),
        measure=money.worth_of_refund, do=money.refund, subject=money.invoice_of_line, finish=money.send_refund,
    ),
    "credit": Power(
        _("Credit an invoice"), "billing.add_refund", ("billing_invoice_credit",),
        measure=money.worth_of_credit, do=money.credit, subject=money.invoice_of, finish=money.send_refund,
    ),
    "issue": Power(
        _("Issue an invoice"), "billing.add_invoice", ("billing_invoice_issue",),
        measure=money.worth_of_the_whole, do=money.issue, subject=money.invoice_of, finish=money.use_balance,
    ),
    "void": Power(
        _("Void an invoice"), "billing.change_invoice", ("billing_invoice_void",),
        measure=money.worth_of_the_whole, do=money.void, subject=money.invoice_of,
    ),
    "write_off": Power(
        _("Write off an invoice"), "billing.change_invoice",
        ("billing_invoice_mark_uncollectible", "billing_collection_mark-uncollectible"),
        measure=money.worth_of_what_is_owed, do=money.write_off, subject=money.invoice_of,
    ),
    "cancel_item": Power(
        _("Cancel a pending item"), "billing.change_pendingitem", ("billing_pendingitem_cancel",),
        measure=money.worth_of_item, do=money.cancel_item, subject=money.item_of,
    ),
    "match": Power(
        _("Pay invoices by bank transfer"), "billing.change_banktransfer",
        ("billing_banktransfer_record", "billing_banktransfer_import", "billing_banktransfer_match"),
        measure=money.worth_of_matches, do=money.match, subject=money.transfer_of,
    ),
    "return_transfer": Power(
        _("Record that a transfer was sent back"), "billing.change_banktransfer", ("billing_banktransfer_return",),
        measure=money.worth_of_return, do=money.mark_returned, subject=money.transfer_of,
    ),
    # --- Plans --------------------------------------------------------------------------------------------------------
    "subscribe": Power(
        _("Start a subscription"), "billing.change_subscription", ("billing_subscription_start",),
        measure=plans.worth_of_start, do=plans.start, finish=plans.charge_first,
    ),
    "plan_change": Power(
        _("Change plan or seats"), "billing.change_subscription", ("billing_subscription_change-plan",),
        measure=plans.worth_of_change, do=plans.change, subject=plans.subscription_of,
    ),
    "plan_cancel": Power(
        _("End a subscription and give unused days back"), "billing.change_subscription",
        ("billing_subscription_cancel",),
        measure=plans.worth_of_end, do=plans.end, subject=plans.subscription_of,
    ),
    "coupon": Power(
        _("Redeem a coupon"), "billing.change_subscription", ("billing_subscription_coupon",),
        measure=plans.worth_of_coupon, do=plans.redeem,
    ),
    "agree_terms": Power(
        _("Agree contract terms"), "billing.add_contractterms", ("billing_contractterms_agree",),
        measure=boundless, do=plans.agree,
    ),
    "end_terms": Power(
        _("End contract terms"), "billing.add_contractterms", ("billing_contractterms_end",),
        measure=boundless, do=plans.end_terms, subject=plans.terms_of,
    ),
    # --- Rights -------------------------------------------------------------------------------------------------------
    "user_rights": Power(
        _("Change a person's rights or address"), "billing.change_user", ("billing_user_change",),
        measure=boundless, do=rights.change, subject=rights.row_of,
    ),
    "group_rights": Power(
        _("Change what a group may do"), "auth.change_group", ("auth_group_change",),
        measure=boundless, do=rights.change, subject=rights.row_of,
    ),
    "issuer_bank": Power(
        _("Change an issuer's bank details"), "billing.change_issuer", ("billing_issuer_change",),
        measure=boundless, do=rights.change, subject=rights.row_of,
    ),
    "issuer_default": Power(
        _("Use another issuer"), "billing.change_issuer", ("billing_issuer_default",),
        measure=boundless, do=rights.make_default, subject=rights.issuer_of,
    ),
    "account_gateway": Power(
        _("Change how an account pays"), "billing.change_account", ("billing_account_change",),
        measure=boundless, do=rights.change, subject=rights.row_of,
    ),
    "invite": Power(
        _("Invite somebody to an account"), "billing.add_member", ("billing_member_add",),
        measure=rights.worth_of_role, do=rights.invite,
    ),
    "member_role": Power(
        _("Change a member's role"), "billing.change_member", ("billing_member_change",),
        measure=rights.worth_of_role, do=rights.change_role, subject=rights.member_of,
    ),
    "key": Power(
        _("Let an API key work"), "billing.add_apikey", ("billing_apikey_add", "billing_apikey_rotate"),
        measure=rights.worth_of_key, do=rights.open_key, subject=rights.key_of, close=rights.revoke_key,
    ),
}  # fmt: skip
