"""Taking up an invitation."""

from django.contrib import messages
from django.contrib.auth import login
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from billing.accounts import invitations, members
from portal.access import account_url
from portal.forms import InvitationForm


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "POST"])
def accept(request: HttpRequest, token: str) -> HttpResponse:
    """Show who invites to what; on POST take the place and sign in."""
    now = timezone.now()
    invitation = invitations.find_open(token=token, now=now)
    if invitation is None:
        return render(request, "portal/invitation_closed.html", status=404)
    form = InvitationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            member = invitations.accept(
                token=token, name=form.cleaned_data["name"], password=form.cleaned_data["password"], now=now
            )
        except invitations.InvitationClosed:
            return render(request, "portal/invitation_closed.html", status=404)
        except invitations.WrongPassword:
            form.add_error("password", "This address has a login already, and this is not its password.")
        except members.AlreadyMember:
            form.add_error(None, "You are in this account already. Please sign in.")
        except ValidationError as weakness:
            form.add_error("password", weakness)
        else:
            login(request, member.user, backend="django.contrib.auth.backends.ModelBackend")
            messages.success(request, f"Welcome to {member.account.name}.")
            return redirect(account_url(member.account))
    return render(request, "portal/invitation.html", {"form": form, "invitation": invitation})
