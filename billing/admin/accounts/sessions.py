"""Where a person is signed in, for staff: look, and sign them out of some browsers or all."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing.accounts import sessions
from billing.accounts.models import User
from billing.accounts.sessions import Browser
from billing.accounts.text import PlainText
from billing.admin import trail
from billing.admin.rules import Act, RoomAdmin, staff_user

PERMISSION = "billing.end_sessions"


class EndForm(forms.Form):
    """Which browsers to sign the person out of, and why."""

    browsers = forms.MultipleChoiceField(
        label=gettext_lazy("Sign out of"),
        # The admin's class for lists of choices: their labels have the whole width.
        widget=forms.CheckboxSelectMultiple(attrs={"class": "radiolist"}),
        error_messages={
            "required": gettext_lazy("Choose at least one browser."),
            "invalid_choice": gettext_lazy("One of these browsers is no longer signed in. Look at the list again."),
        },
    )
    reason = PlainText(
        label=gettext_lazy("Reason"),
        max_length=200,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=gettext_lazy("For the audit log, for example: laptop reported stolen."),
    )

    def __init__(self, data: Any, *, choices: list[tuple[str, str]]) -> None:
        super().__init__(data, initial={"browsers": [handle for handle, _label in choices]})
        self.fields["browsers"].choices = choices  # type: ignore[attr-defined]


class SessionPages(RoomAdmin):
    """For people: the page of their sessions. Support signs out customers; only superusers sign out colleagues."""

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.sessions_view)
        return [path("<int:pk>/sessions/", page, name="billing_user_sessions"), *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: User) -> list[Act]:
        acts = super().list_acts(request, row)
        return [*acts, Act(_("Sessions"), self.page_url("sessions", row))] if self._may(request, row) else acts

    def sessions_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """List the browsers, have staff choose, confirm, and sign the person out."""
        user = User.objects.filter(pk=pk).first()
        if user is None:
            raise Http404
        self.require(self._may(request, user))
        # Not of the one that asks: people leave that by "Log out".
        found = sessions.list_browsers(user, here=request.session.session_key)
        browsers = [browser for browser in found if not browser.is_here]
        if not browsers:
            trail.settle(request)
            self.message_user(request, _("%(person)s is not signed in anywhere else.") % {"person": user})
            return HttpResponseRedirect(self.page_url("change", user))
        labels = {browser.handle: _label(browser) for browser in browsers}
        form = EndForm(request.POST or None, choices=list(labels.items()))
        chosen = form.cleaned_data["browsers"] if request.method == "POST" and form.is_valid() else []
        if chosen and "_confirmed" in request.POST:
            return self._end(request, user, {handle: labels[handle] for handle in chosen}, form.cleaned_data["reason"])
        confirming = bool(chosen) and "_edit" not in request.POST
        count = ngettext("Sign out of %(count)d browser", "Sign out of %(count)d browsers", len(chosen))
        return self.render_act(
            request,
            user,
            title=_("Where %(person)s is signed in") % {"person": user},
            button=count % {"count": len(chosen)} if confirming else _("Continue"),
            form=form,
            facts=[(_("Sign out of"), labels[handle]) for handle in chosen] if confirming else (),
            warning=_("They have to sign in again there. Their API keys and password stay as they are."),
            hidden=confirming,
        )

    def _end(self, request: HttpRequest, user: User, labels: dict[str, str], reason: str) -> HttpResponse:
        ended = sessions.end(user=user, handles=labels)
        trail.note(request, "end_sessions", user, before={"signed in": list(labels.values())}, reason=reason)
        done = ngettext(
            "%(person)s was signed out of %(count)d browser.", "%(person)s was signed out of %(count)d browsers.", ended
        )
        self.message_user(request, done % {"person": user, "count": ended}, messages.SUCCESS)
        return HttpResponseRedirect(self.page_url("change", user))

    def _may(self, request: HttpRequest, user: User) -> bool:
        by = staff_user(request)
        is_colleague = user.is_staff or user.is_superuser
        return by.has_perm(PERMISSION) and (by.is_superuser or not is_colleague)


def _label(browser: Browser) -> str:
    since = f"{browser.since:%-d %B %Y, %H:%M} UTC"
    facts = {"browser": browser.client or _("Unknown browser"), "address": browser.ip, "since": since}
    return _("%(browser)s, %(address)s, since %(since)s") % facts
