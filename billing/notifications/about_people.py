"""Messages to a person who is not a member yet: an invitation."""

from django.urls import reverse
from django.utils.translation import gettext as _

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
