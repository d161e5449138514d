"""Messages to one person: an invitation; and to staff: that the ledger does not add up."""

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.accounts import invitations
from billing.accounts.models import Invitation, Role
from billing.notifications.messages import About, Fact, Link, Message


def invitation(about: About) -> Message:
    """A place in an account is offered. The link's token may stand in the e-mail but not in the outbox."""
    row = Invitation.objects.get(pk=about.payload["invitation_id"])
    names = {
        "account": about.text("account_name"),
        "inviter": about.text("invited_by"),
        "role": Role(about.payload["role"]).label.lower(),
        "minute": about.minute("expires_at"),
    }
    invited = _("%(inviter)s invites you to %(account)s") if names["inviter"] else _("You are invited to %(account)s")
    return Message(
        title=invited % names,
        lead=_("You can join %(account)s on Florin as %(role)s.") % names,
        facts=(Fact(_("Organisation"), names["account"]), Fact(_("Your role"), names["role"].capitalize())),
        more=(
            _("The link works once, until %(minute)s.") % names,
            _("If you did not expect this, you need do nothing."),
        ),
        action=Link(
            _("Join %(account)s") % names, reverse("portal:invitation", kwargs={"token": invitations.token_of(row)})
        ),
    )


def ledger_difference(about: About) -> Message:
    """Verifying found what does not add up. To staff."""
    count, account_id = int(about.payload["differences"]), about.payload["account_id"]
    names = {"count": count, "account": about.text("account_name")}
    if account_id:
        title = ngettext(
            "Ledger: %(account)s is parked, %(count)d difference found",
            "Ledger: %(account)s is parked, %(count)d differences found",
            count,
        )
        where = f"{names['account']} (acc_{account_id})"
        lead = _(
            "%(where)s is parked: charges, holds and transfers are refused until staff release it. Usage events are "
            "still recorded."
        )
        command = f"manage.py verify_ledger --account acc_{account_id}"
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
