"""How pages ask for an act on credits, money or rights: once per rendered form, with a reason, within the author's
limit or with a second person. What the acts are, is in `powers`."""

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import approvals, audit
from billing.accounts.models import Approval
from billing.accounts.text import PlainText
from billing.admin import acts, trail
from billing.admin.acts import CannotBeDone, Done
from billing.admin.rules import staff_user
from billing.wording import amounts

SMALLEST = Decimal("0.000001")


class OnceForm(forms.Form):
    """A form whose act happens once, however often it is sent."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    reason = PlainText(
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
    form: forms.Form,
    *,
    act: str,
    account_id: int | None,
    payload: Mapping[str, Any],
    reason: str | None = None,
    reference: str = "",
) -> Done | None:
    """Ask for an act of the list of powers; None when it cannot be done, and then the form says why, and the audit log
    that it was refused. What was done, or is to wait, is in the audit log too.

    By default the reference and the reason are those of the form, an `OnceForm`.
    """
    try:
        done = acts.ask(
            user=staff_user(request),
            account_id=account_id,
            act=act,
            payload=payload,
            reference=reference or form.reference,  # type: ignore[attr-defined]
            reason=form.cleaned_data["reason"] if reason is None else reason,
            now=timezone.now(),
        )
    except approvals.ReferenceConflict:
        form.add_error(None, _("This form was sent before, with other values. Open a new one to do it once more."))
    except CannotBeDone as error:
        form.add_error(None, str(error))
        trail.refuse(request, f"{act}: {error}")
    else:
        note(request, done)
        return done
    return None


def ask_quietly(
    request: HttpRequest,
    *,
    act: str,
    account_id: int | None,
    payload: Mapping[str, Any],
    reference: str,
    reason: str,
) -> Done | None:
    """`ask` for a page without a form of its own: what cannot be done is said as a message."""
    form = forms.Form({})
    form.is_valid()
    done = ask(
        request, form, act=act, account_id=account_id, payload=payload, reference=reference,
        reason=request.POST.get("_reason", "").strip()[:200] or reason,
    )  # fmt: skip
    for error in form.non_field_errors():
        messages.error(request, str(error))
    return done


def note(request: HttpRequest, done: Done) -> None:
    """Write to the audit log what was done, with the row before and after, or that it waits."""
    approval = done.approval
    if not done.is_new:
        trail.settle(request)
    elif done.row is None:
        facts = {"asks_for": approval.act, "worth": acts.worth_text(approval), "state": approval.state}
        trail.note(request, "ask", approval, after=facts, reason=approval.reason, account_id=approval.account_id)
    else:
        row = type(done.row)._default_manager.get(pk=done.row.pk)
        trail.note(
            request, approval.act, row, before=dict(done.before or {}), after=audit.snapshot(row),
            reason=approval.reason, account_id=approval.account_id,
        )  # fmt: skip


def answer(request: HttpRequest, done: Done, *, said: str, to: str) -> HttpResponse:
    """Where to go after an act: to `to`, or to the queue where it waits. What it leaves for after the commit must have
    been done by `acts.finish`."""
    if waits(done):
        text = _("A second person must approve this: %(why)s.")
        messages.warning(request, text % {"why": _why(done.approval)})
        return HttpResponseRedirect(reverse("admin:billing_approval_change", args=[done.approval.pk]))
    messages.success(request, said)
    return HttpResponseRedirect(to)


def waits(done: Done) -> bool:
    """Whether the act needs a second person."""
    return done.approval.state != Approval.State.IMMEDIATE


def warning(request: HttpRequest, act: str, payload: Mapping[str, Any], *, account_id: int | None) -> str:
    """What to say before an act that will need a second person; empty when it will not."""
    now = timezone.now()
    try:
        worth = acts.worth_of(act, payload, account_id=account_id, now=now)
    except CannotBeDone:
        return ""
    if approvals.is_within_limit(user_id=staff_user(request).pk, worth=worth, now=now):
        return ""
    if worth.is_boundless:
        return _("A second person must approve this.")
    text = _("With what you did today this is over %(limit)s: it will wait until a second person approves it.")
    return text % {"limit": limits_text(worth.currency if worth.amount else "", with_credits=bool(worth.credits))}


def _why(approval: Approval) -> str:
    if not approval.credits and not approval.amount:
        return _("no limit covers it")
    limits = limits_text(approval.currency, with_credits=bool(approval.credits))
    return _("with what you did today it is over %(limit)s") % {"limit": limits}


def limits_text(currency: str, *, with_credits: bool) -> str:
    """What one person may do alone in a day, in the units that an act counts in."""
    units = [*([""] if with_credits else []), *([currency] if currency else [])]
    return _(" or ").join(limit_text(unit) for unit in units)


def limit_text(currency: str) -> str:
    """What one person may do alone in a day."""
    limit = approvals.limit_of(currency)
    if currency:
        return amounts.money_text(limit, currency)
    return _("%(limit)s credits") % {"limit": amounts.exact_credits_text(limit)}
