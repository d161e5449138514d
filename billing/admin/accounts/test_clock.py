"""The staff page of an account's test clock: putting the account on one, and moving it."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import clocks
from billing.accounts.models import Account, TestClock
from billing.accounts.text import PlainText
from billing.admin import trail
from billing.admin.rules import MomentWidget, RoomAdmin
from billing.clock import advancing, timeline

# A longer way is gone on with by a worker.
ANSWER_WITHIN_SECONDS = 15


class ClockForm(forms.Form):
    """Where the clock is to be moved to, and why; of an account in real time also where it begins."""

    starts_at = forms.SplitDateTimeField(
        label=gettext_lazy("Begins at"),
        required=False,
        widget=MomentWidget("Begins at"),
        help_text=gettext_lazy("Now if left empty. It may lie in the past, if nothing has happened since."),
    )
    advance_to = forms.SplitDateTimeField(label=gettext_lazy("Move it to"), widget=MomentWidget("Move it to"))
    reason = PlainText(
        label=gettext_lazy("Reason"), max_length=200, widget=forms.TextInput(attrs={"class": "vTextField"})
    )


class ClockPages(RoomAdmin):
    """The page that moves an account's time."""

    @trail.apart
    def clock_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Do everything that is due for the account up to a time, in its own time; put it on a test clock first, if it
        lives in real time."""
        account = Account.objects.filter(pk=pk).first()
        if account is None:
            raise Http404
        self.require(request.user.has_perm("billing.change_account"))
        form = ClockForm(request.POST or None, initial={"advance_to": _now_of(account) + timedelta(days=31)})
        if account.is_test:
            del form.fields["starts_at"]
        if request.method == "POST" and form.is_valid():
            self.watch(request, account)
            before = _now_of(account)
            if self._move(account, form):
                self.note(request, "clock", account, reason=form.cleaned_data["reason"])
                self._tell(request, account, before)
                return HttpResponseRedirect(self.page_url("overview", account))
            trail.settle(request)
        warning = _(
            "The account lives in real time. On a test clock it becomes a test account, left out of books, figures and "
            "queues. It stays on it for good."
        )
        return self.render_act(
            request,
            account,
            title=_("Move its test clock") if account.clock_at else _("Put it on a test clock"),
            button=_("Move"),
            form=form,
            facts=[(_("Its time"), _text(_now_of(account))), *_facts(account)],
            warning="" if account.clock_at else warning,
            back=self.page_url("overview", account),
        )

    def _move(self, account: Account, form: ClockForm) -> bool:
        now, to = timezone.now(), form.cleaned_data["advance_to"]
        try:
            if account.clock_at is None:
                starts_at = form.cleaned_data["starts_at"] or now
                advancing.open_clock(account_id=account.pk, starts_at=starts_at, now=now)
            advancing.advance(account_id=account.pk, to=to, seconds=ANSWER_WITHIN_SECONDS, read_clock=timezone.now)
        except tuple(_REFUSALS) as refusal:
            form.add_error(None, _REFUSALS[type(refusal)])
            return False
        return True

    def _tell(self, request: HttpRequest, account: Account, before: datetime) -> None:
        account.refresh_from_db()
        clock, now = TestClock.objects.get(account=account), _now_of(account)
        told = timeline.list_events(after=before, until=now, account_id=account.pk)
        counts = ", ".join(f"{count} x {what}" for what, count in Counter(each.what for each in told).items())
        names: dict[str, Any] = {"time": _text(now), "happened": counts or _("nothing happened")}
        if clock.problem:
            text, level = _("It stopped at %(time)s: %(problem)s"), messages.ERROR
            names["problem"] = clock.problem
        elif clock.target_at is not None:
            text, level = _("It has come to %(time)s, and goes on by itself. So far: %(happened)s."), messages.WARNING
        else:
            text, level = _("It is %(time)s now for this account: %(happened)s."), messages.SUCCESS
        self.message_user(request, text % names, level)


_REFUSALS: dict[type[Exception], Any] = {
    advancing.NotSandbox: gettext_lazy("Only accounts whose payments go to the sandbox gateway have a test clock."),
    advancing.HasInvoices: gettext_lazy(
        "The account has invoices, or credits that were paid for, in the books. Use another account for tests."
    ),
    advancing.TooFar: gettext_lazy("Move it by five years at most at once."),
    clocks.HasHistory: gettext_lazy("Something has happened to the account after that time."),
    clocks.ClockRunsBack: gettext_lazy("A clock is moved forward only."),
    clocks.ClockMoving: gettext_lazy("The clock is on its way. Wait until it has arrived."),
}


def _now_of(account: Account) -> datetime:
    return clocks.time_of(account, timezone.now())


def _facts(account: Account) -> list[tuple[str, object]]:
    clock = TestClock.objects.filter(account=account).first()
    if clock is None or clock.target_at is None:
        return []
    return [(_("On its way to"), _text(clock.target_at)), (_("Stopped by"), clock.problem or "-")]


def _text(at: datetime) -> str:
    return formats.date_format(timezone.localtime(at), "DATETIME_FORMAT")
