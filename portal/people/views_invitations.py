"""Taking up an invitation."""

from allauth.account.utils import perform_login
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from billing.accounts import invitations, members
from billing.accounts.models import Invitation, User
from portal.access import account_url
from portal.entrance.forms import InvitationForm
from portal.entrance.views_entrance import few_wrong_links


@few_wrong_links
@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "POST"])
def accept(request: HttpRequest, token: str) -> HttpResponse:
    """Show who invites to what; on POST take the place.

    A newcomer chooses a password and is signed in. Who has a login signs in first, second factor included.
    """
    invitation = invitations.find_open(token=token, now=timezone.now())
    if invitation is None:
        return _closed(request)
    if isinstance(request.user, User):
        return _accept_as(request, request.user, invitation, token)
    if invitations.has_login(invitation):
        return render(request, "portal/invitation_login.html", {"invitation": invitation})
    return _accept_as_newcomer(request, invitation, token)


def _accept_as(request: HttpRequest, user: User, invitation: Invitation, token: str) -> HttpResponse:
    if user.email.lower() != invitation.email.lower():
        return render(request, "portal/invitation_other.html", {"invitation": invitation}, status=403)
    if request.method == "POST":
        try:
            member = invitations.accept_as(token=token, user=user, now=timezone.now())
        except invitations.InvitationClosed:
            return _closed(request)
        except members.AlreadyMember:
            messages.info(request, _("You are in this account already."))
            return redirect(account_url(invitation.account))
        except members.StaffMember:
            context = {"invitation": invitation, "is_staff": True}
            return render(request, "portal/invitation_other.html", context, status=403)
        messages.success(request, _("Welcome to %(account)s.") % {"account": member.account.name})
        return redirect(account_url(member.account))
    return render(request, "portal/invitation.html", {"invitation": invitation})


def _accept_as_newcomer(request: HttpRequest, invitation: Invitation, token: str) -> HttpResponse:
    form = InvitationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        name, password = form.cleaned_data["name"], form.cleaned_data["password"]
        try:
            member = invitations.accept(token=token, name=name, password=password, now=timezone.now())
        except invitations.InvitationClosed:
            return _closed(request)
        except invitations.KnownAddress:
            return render(request, "portal/invitation_login.html", {"invitation": invitation})
        except ValidationError as weakness:
            form.add_error("password", weakness)
        else:
            messages.success(request, _("Welcome to %(account)s.") % {"account": member.account.name})
            return perform_login(request, member.user, redirect_url=account_url(member.account))
    return render(request, "portal/invitation.html", {"form": form, "invitation": invitation})


def _closed(request: HttpRequest) -> HttpResponse:
    return render(request, "portal/invitation_closed.html", status=404)
