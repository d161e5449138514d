"""Messages to one person about their login: links that prove something, and notices of what was changed.

The secret of a link is made here, when the e-mail is written: it may stand in the e-mail but not in the outbox.
"""

from django.urls import reverse
from django.utils.translation import gettext as _

from billing.accounts import addresses, people
from billing.notifications.messages import About, Fact, Link, Message


def verify_email(about: About) -> Message:
    """An address is to be proved: a newcomer's, or one that somebody wants to change to."""
    hello = _("Hello %(name)s, welcome to Florin.") if about.payload["is_new"] else _("Hello %(name)s.")
    key = addresses.key_of(about.payload["address_id"])
    return Message(
        title=_("Confirm your e-mail address"),
        lead=" ".join((hello % {"name": about.text("name")}, _("Please confirm that this is your e-mail address."))),
        more=(
            _("The link works for three days."),
            _("If it was not you who gave us this address, you need do nothing."),
        ),
        action=Link(_("Confirm the address"), reverse("account_confirm_email", kwargs={"key": key})),
    )


def password_reset(about: About) -> Message:
    """Somebody, presumably the person, has forgotten the password."""
    uid, _dash, key = people.reset_key(about.payload["user_id"]).partition("-")
    return Message(
        title=_("Choose a new password"),
        lead=_("Hello %(name)s. Someone, presumably you, asked for a new password.") % {"name": about.text("name")},
        more=(
            _("The link works once, for a day."),
            _("If it was not you, there is nothing to do: your password stays as it is."),
        ),
        action=Link(
            _("Choose a new password"), reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": key})
        ),
    )


def account_exists(about: About) -> Message:
    """Somebody, presumably the person, signed up with an address that has a login."""
    return Message(
        title=_("You have a Florin login already"),
        lead=_("Someone, presumably you, wanted to sign up with this address. It has a login already."),
        more=(_("If it was not you, there is nothing to do: nothing has changed."),),
        action=Link(_("Sign in"), reverse("account_login")),
        further=(Link(_("Choose a new password, if you have forgotten it"), reverse("account_reset_password")),),
    )


def password_changed(about: About) -> Message:
    """The password is another one."""
    return _notice(
        about,
        _("Your password was changed"),
        _("The password of your Florin login was changed, and elsewhere you are signed out."),
    )


def email_changed(about: About) -> Message:
    """The address is another one; this goes to the old one."""
    text = _("The address of your Florin login was changed from this one to %(address)s.")
    return _notice(about, _("Your e-mail address was changed"), text % {"address": about.text("new_email")})


def two_factor_on(about: About) -> Message:
    """Signing in takes a second factor."""
    return _notice(
        about,
        _("Two-factor sign-in is on"),
        _("Signing in to Florin now takes your password and a code of your authenticator app."),
    )


def two_factor_off(about: About) -> Message:
    """Signing in takes no second factor any more."""
    return _notice(about, _("Two-factor sign-in is off"), _("Signing in to Florin now takes your password only."))


def recovery_codes_made(about: About) -> Message:
    """There are new recovery codes."""
    return _notice(
        about, _("New recovery codes"), _("You have new recovery codes for your Florin login. The old ones are void.")
    )


def _notice(about: About, title: str, text: str) -> Message:
    where = [Fact(_("When"), about.minute("at")), Fact(_("From"), about.text("where"))]
    if about.text("client"):
        where.insert(1, Fact(_("With"), about.text("client")))
    return Message(
        title=title,
        lead=_("Hello %(name)s.") % {"name": about.text("name")} + " " + text,
        tone="warning",
        facts=tuple(where),
        more=(_("If it was not you, choose a new password at once."),),
        action=Link(_("Choose a new password"), reverse("account_reset_password")),
    )
