"""How pages ask for an act on credits or money: once per rendered form, with a reason, within the author's limit or
with a second person. What the act is, is in `acts`."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import approvals
from billing.accounts.models import Approval
from billing.admin import acts, trail
from billing.admin.rules import staff_user
from billing.notifications import wording

SMALLEST = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Asked:
    """What allows the act, and whether this request brought it about or an earlier one with the same form."""

    approval: Approval
    is_new: bool


class OnceForm(forms.Form):
    """A form whose act happens once, however often it is sent."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=200,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("The customer sees it in the ledger."),
    )

    @property
    def reference(self) -> str:
        """What the act is known by, here and in the ledger."""
        return f"staff:{self.cleaned_data['token']}"


def ask(
    request: HttpRequest,
    form: OnceForm,
    *,
    act: str,
    account_id: int,
    payload: Mapping[str, Any],
    amount: Decimal,
    currency: str = "",
) -> Asked | None:
    """Ask for what the form says; None when it cannot be done, and then the form says why."""
    try:
        approval, is_new = acts.ask(
            user=staff_user(request),
            account_id=account_id,
            act=act,
            payload=payload,
            reference=form.reference,
            amount=amount,
            currency=currency,
            reason=form.cleaned_data["reason"],
            now=timezone.now(),
        )
        if not is_new:
            trail.settle(request)
        return Asked(approval, is_new)
    except approvals.ReferenceConflict:
        form.add_error(None, _("This form was sent before, with other values. Open a new one to do it once more."))
    except acts.CannotBeDone as error:
        form.add_error(None, str(error))
    return None


def waits(request: HttpRequest, asked: Asked) -> HttpResponse | None:
    """Where to go when the act needs a second person; None when it has been done."""
    approval = asked.approval
    if approval.state == Approval.State.IMMEDIATE:
        return None
    if asked.is_new:
        trail.note(request, "ask", approval, after={"state": approval.state}, reason=approval.reason)
    text = _("A second person must approve this: with what you did today it is over %(limit)s.")
    messages.warning(request, text % {"limit": limit_text(approval.currency)})
    return HttpResponseRedirect(reverse("admin:billing_approval_change", args=[approval.pk]))


def warning(request: HttpRequest, amount: Decimal, currency: str = "") -> str:
    """What to say before an act that will need a second person; empty when it will not."""
    used = approvals.used_today(user_id=staff_user(request).pk, currency=currency, now=timezone.now())
    if used + amount <= approvals.limit_of(currency):
        return ""
    text = _("With what you did today this is over %(limit)s: it will wait until a second person approves it.")
    return text % {"limit": limit_text(currency)}


def limit_text(currency: str) -> str:
    """What one person may do alone in a day."""
    limit = approvals.limit_of(currency)
    if currency:
        return wording.money_text(limit, currency)
    return _("%(limit)s credits") % {"limit": wording.exact_credits_text(limit)}
