"""Columns whose change needs a second person: on a row's form they are asked for, and the rest of the form is saved."""

import uuid
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from billing.accounts.models import Account, Approval
from billing.admin import asking, trail
from billing.admin.powers import rights
from billing.admin.rules import RoomAdmin


class GuardedPages(RoomAdmin):
    """For tables with guarded columns. `power` is the entry of the list of powers by which they change."""

    guarded: ClassVar[tuple[str, ...]] = ()
    power: ClassVar[str] = ""

    def needs_second(self, name: str, before: Any, wanted: Any) -> bool:
        """Whether this change of a guarded column needs a second person."""
        return True

    def save_form(self, request: HttpRequest, form: forms.ModelForm, change: bool) -> Any:
        row = super().save_form(request, form, change)
        if change:
            request.florin_held = self._hold(row, form)  # type: ignore[attr-defined]
        return row

    def save_related(self, request: HttpRequest, form: forms.ModelForm, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        held = getattr(request, "florin_held", None)
        if held:
            self._ask(request, form, held)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        done = getattr(request, "florin_asked", None)
        if done is None:
            return super().response_change(request, obj)
        return asking.answer(request, done, said="", to=self.page_url("change", obj))

    def _hold(self, row: Any, form: forms.ModelForm) -> dict[str, Any]:
        """Take the guarded changes out of the form and the row; what they were to be."""
        held: dict[str, Any] = {}
        stored = type(row)._default_manager.get(pk=row.pk)
        many = {field.name for field in row._meta.many_to_many}
        for name in [name for name in form.changed_data if name in self.guarded]:
            wanted = form.cleaned_data[name]
            before = list(getattr(stored, name).all()) if name in many else getattr(stored, name)
            if not self.needs_second(name, before, wanted):
                continue
            held[name] = list(wanted) if name in many else wanted
            form.cleaned_data[name] = before
            form.changed_data.remove(name)
            if name not in many:
                setattr(row, name, before)
        return held

    def _ask(self, request: HttpRequest, form: forms.ModelForm, held: dict[str, Any]) -> None:
        row = form.instance
        payload = rights.change_payload(row, held)
        waiting = Approval.objects.filter(act=self.power, payload=payload, state=Approval.State.WAITING)
        if waiting.exists():
            trail.settle(request)
            self.message_user(request, _("This waits for a second person already."), messages.WARNING)
            return
        request.florin_asked = asking.ask_quietly(  # type: ignore[attr-defined]
            request, act=self.power, account_id=row.pk if isinstance(row, Account) else None, payload=payload,
            reference=f"change:{uuid.uuid4()}", reason=_("Asked for on the row's own page."),
        )  # fmt: skip
