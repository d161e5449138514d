"""Messages to staff: that the ledger does not add up, that a renewal failed, what waits for a second person."""

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.accounts import ids
from billing.notifications.messages import About, Fact, Link, Message


def ledger_difference(about: About) -> Message:
    """Verifying found what does not add up. To staff."""
    count, account_id = int(about.payload["differences"]), about.payload["account_id"]
    names = {"count": count, "account": about.text("account_name")}
    if account_id:
        own = ids.encode(ids.ACCOUNT, account_id)
        title = ngettext(
            "Ledger: %(account)s is parked, %(count)d difference found",
            "Ledger: %(account)s is parked, %(count)d differences found",
            count,
        )
        where = f"{names['account']} ({own})"
        lead = _(
            "%(where)s is parked: charges, holds and transfers are refused until staff release it. Usage events are "
            "still recorded."
        )
        command = f"manage.py verify_ledger --account {own}"
        action = Link(_("Open the account"), reverse("admin:billing_account_change", args=[account_id]))
    else:
        title = ngettext(
            "Ledger: the seal chain is broken, %(count)d difference found",
            "Ledger: the seal chain is broken, %(count)d differences found",
            count,
        )
        where = _("the chain of seals over the ledger")
        lead = _("The differences are in %(where)s. No account is named by this, so none is parked for it.")
        command, action = "manage.py verify_ledger", Link(_("Open the admin"), reverse("admin:index"))
    return Message(
        title=title % names,
        lead=lead % {"where": where},
        tone="bad",
        more=(_("Nothing was repaired. See all of them with: %(command)s") % {"command": command},),
        items=tuple(" ".join(str(example).split()) for example in about.payload["examples"]),
        action=action,
    )


def subscription_parked(about: About) -> Message:
    """A renewal failed, and the subscription was set aside. To staff who may release it."""
    names = {"account": about.text("account_name"), "plan": about.text("plan_name")}
    return Message(
        title=_("%(account)s: the plan %(plan)s could not be renewed") % names,
        lead=_(
            "The renewal failed and the subscription is parked: nothing was billed, no credits were granted, and it is "
            "not tried again by itself. All others go on."
        ),
        tone="bad",
        facts=(
            Fact(_("Account"), names["account"]),
            Fact(_("Plan"), names["plan"]),
            Fact(_("Was due"), about.minute("due_at")),
            Fact(_("What went wrong"), about.text("problem")),
        ),
        more=(_("Fix the cause, then release the subscription: it renews from where it stopped, with its own dates."),),
        action=Link(
            _("Open the subscription"),
            reverse("admin:billing_subscription_change", args=[about.payload["subscription_id"]]),
        ),
        further=(Link(_("See what waits for staff"), reverse("staff:work")),),
    )


def approval_waiting(about: About) -> Message:
    """A colleague's act needs a second person. To staff who may decide."""
    names = _asked(about)
    return Message(
        title=_("To approve: %(what)s") % names,
        lead=_("%(author)s asks for a second person's yes.") % names,
        facts=_facts_asked(names),
        action=Link(_("Look at it and decide"), _approval_page(about)),
    )


def approval_decided(about: About) -> Message:
    """What a member of staff asked for was approved and done, or rejected. To whoever asked."""
    names = _asked(about) | {"decider": about.text("decided_by"), "note": about.text("note")}
    if about.payload["state"] == "approved":
        title, lead = _("Approved: %(what)s"), _("%(decider)s approved it, and it is done.")
    else:
        title, lead = _("Rejected: %(what)s"), _("%(decider)s rejected it; nothing was done.")
    note = (Fact(_("Note"), names["note"]),) if names["note"] else ()
    return Message(
        title=title % names,
        lead=lead % names,
        facts=(*_facts_asked(names), *note),
        action=Link(_("See it in the admin"), _approval_page(about)),
    )


def _asked(about: About) -> dict[str, str]:
    what = (about.text("act"), about.text("amount"), about.text("account_name"))
    return {
        "what": ", ".join(part for part in what if part),
        "act": about.text("act"),
        "amount": about.text("amount"),
        "account": about.text("account_name"),
        "author": about.text("requested_by"),
        "reason": about.text("reason"),
    }


def _facts_asked(names: dict[str, str]) -> tuple[Fact, ...]:
    facts = (
        Fact(_("Act"), names["act"]),
        Fact(_("Amount"), names["amount"]),
        Fact(_("Account"), names["account"]),
        Fact(_("Reason"), names["reason"]),
        Fact(_("Asked for by"), names["author"]),
    )
    return tuple(fact for fact in facts if fact.value)


def _approval_page(about: About) -> str:
    return reverse("admin:billing_approval_change", args=[about.payload["approval_id"]])
