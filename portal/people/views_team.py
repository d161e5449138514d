"""The people of an account: who is in it as what, what they may spend, and who is invited."""

import math
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from billing.accounts import invitations, members, throttles
from billing.accounts.models import Invitation, Member, Role
from billing.ledger import pools
from billing.ledger.models import MemberLimit
from billing.notifications import invitations as invitation_mails
from portal.access import Visit, account_page, require_manager
from portal.entrance.views_entrance import deliver_soon
from portal.frame import render_page
from portal.people.forms import InviteForm, MemberForm


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def team(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The members and open invitations; for managers a form to invite, which a POST does."""
    if request.method == "POST":
        require_manager(visit)
    form = InviteForm(request.POST or None, owner=visit.is_owner)
    if request.method == "POST" and form.is_valid():
        email, role = form.cleaned_data["email"], form.cleaned_data["role"]
        if problem := _invite(visit, email, role):
            form.add_error("email", problem)
        else:
            messages.success(request, _("An invitation is on its way to %(email)s.") % {"email": email})
            return redirect(visit.url("team"))
    context: dict[str, Any] = {
        "form": form,
        "now": visit.now,
        "members": [(person, _spent(visit, person)) for person in _members(visit)],
        "invitations": _open_invitations(visit) if visit.is_manager else [],
    }
    return render_page(request, visit, "team", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def member(request: HttpRequest, visit: Visit, member: int) -> HttpResponse:
    """One member's role and limit; on POST change them."""
    person = _get_member(visit, member)
    limit = getattr(person, "limit", None)
    initial = {"role": person.role, "limit": f"{limit.amount.normalize():f}" if limit else ""}
    form = MemberForm(request.POST or None, owner=visit.is_owner, initial=initial)
    keys = members.list_working_keys(person, now=timezone.now()) if person.role in members.MANAGERS else []
    if request.method == "POST" and form.is_valid():
        try:
            if form.cleaned_data["role"] != person.role:
                members.change_role(member_id=person.pk, role=form.cleaned_data["role"], now=timezone.now())
        except members.LastOwner:
            form.add_error("role", _("The account needs an owner. Make somebody else one first."))
        except Member.DoesNotExist:
            raise Http404("No such member.") from None
        else:
            pools.set_member_limit(member_id=person.pk, amount=form.cleaned_data["limit"], now=visit.now)
            messages.success(request, _("Saved."))
            # Who gave up managing may look at the list, but not at this page any more.
            return redirect(visit.url("team"))
    context = {"form": form, "person": person, "limit": limit, "keys": keys, "spent": _spent(visit, person)}
    return render_page(request, visit, "member", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def remove(request: HttpRequest, visit: Visit, member: int) -> HttpResponse:
    """Ask whether to remove a member, saying which API keys go with them; on POST remove them."""
    person = _get_member(visit, member)
    now = timezone.now()
    is_last_owner = False
    if request.method == "POST":
        try:
            members.remove(member_id=person.pk, now=now)
        except members.LastOwner:
            is_last_owner = True
        except Member.DoesNotExist:
            raise Http404("No such member.") from None
        else:
            name = {"name": person.user.get_full_name(), "account": visit.account.name}
            messages.success(request, _("%(name)s is no longer in %(account)s.") % name)
            return redirect("portal:home" if person == visit.member else visit.url("team"))
    keys = members.list_working_keys(person, now=now)
    context = {"person": person, "keys": keys, "is_last_owner": is_last_owner}
    return render_page(request, visit, "member_remove", context, status=422 if is_last_owner else 200)


@account_page
@require_POST
def resend(request: HttpRequest, visit: Visit, invitation: int) -> HttpResponse:
    """Invite anew; the e-mail before works no longer."""
    row = _get_invitation(visit, invitation)
    if problem := _invite(visit, row.email, row.role):
        messages.error(request, problem)
    else:
        messages.success(request, _("A new invitation is on its way to %(email)s.") % {"email": row.email})
    return redirect(visit.url("team"))


@account_page
@require_POST
def revoke(request: HttpRequest, visit: Visit, invitation: int) -> HttpResponse:
    """Take an invitation back."""
    row = _get_invitation(visit, invitation)
    invitations.revoke(invitation=row, now=timezone.now())
    messages.success(request, _("The invitation of %(email)s is taken back.") % {"email": row.email})
    return redirect(visit.url("team"))


def _members(visit: Visit) -> list[Member]:
    rows = Member.objects.filter(account=visit.account, removed_at=None).select_related("user", "limit")
    order = list(Role)
    return sorted(rows, key=lambda row: (order.index(Role(row.role)), row.user.get_full_name().casefold()))


def _spent(visit: Visit, person: Member) -> Decimal:
    """What counts against the member's limit this month; zero without one."""
    limit: MemberLimit | None = getattr(person, "limit", None)
    if limit is None:
        return Decimal(0)
    return pools.spent_this_month(limit, time_zone=visit.account.time_zone, now=visit.now)


def _open_invitations(visit: Visit) -> list[Invitation]:
    rows = Invitation.objects.filter(account=visit.account, accepted_at=None, revoked_at=None)
    return list(rows.select_related("invited_by").order_by("email")[:200])


def _get_member(visit: Visit, pk: int) -> Member:
    """The member, for somebody who may change them: 404 for another account's, PermissionDenied for the role."""
    require_manager(visit)
    rows = Member.objects.filter(account=visit.account, removed_at=None, pk=pk).select_related("user", "limit")
    person = rows.first()
    if person is None:
        raise Http404("No such member.")
    _guard_owners(visit, person.role)
    return person


def _get_invitation(visit: Visit, pk: int) -> Invitation:
    require_manager(visit)
    row = Invitation.objects.filter(account=visit.account, accepted_at=None, revoked_at=None, pk=pk).first()
    if row is None:
        raise Http404("No such invitation.")
    _guard_owners(visit, row.role)
    return row


def _guard_owners(visit: Visit, role: str) -> None:
    if role == Role.OWNER and not visit.is_owner:
        raise PermissionDenied(_("Only an owner may do this: it concerns another owner."))


def _invite(visit: Visit, email: str, role: str) -> str:
    """Invite and send the e-mail; what is wrong, or nothing."""
    try:
        invitation_mails.send(
            account=visit.account, email=email, role=role, invited_by=visit.member.user, now=timezone.now()
        )
    except members.AlreadyMember:
        return _("This person is in the account already.")
    except throttles.Throttled as error:
        return _too_many(error)
    deliver_soon()
    return ""


def _too_many(error: throttles.Throttled) -> str:
    minutes = math.ceil(error.retry_after_seconds / 60)
    if error.limit == throttles.INVITATIONS_TO_ADDRESS:
        said = ngettext(
            "This address was invited several times just now. Try again in %(minutes)d minute.",
            "This address was invited several times just now. Try again in %(minutes)d minutes.",
            minutes,
        )
    else:
        said = ngettext(
            "Too many invitations for now. Try again in %(minutes)d minute.",
            "Too many invitations for now. Try again in %(minutes)d minutes.",
            minutes,
        )
    return said % {"minutes": minutes}
