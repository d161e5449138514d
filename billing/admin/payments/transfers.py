"""Staff pages of bank transfers: record one, read a statement, say which invoices it pays, note what was sent back."""

import io
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.utils.translation import ngettext

from billing.admin import asking, trail
from billing.admin.payments.payments import QueueAdmin
from billing.admin.payments.transfer_forms import ImportForm, MatchForm, RecordForm, ReturnForm
from billing.admin.powers import money
from billing.admin.rules import Act, FactsInline, money_column, plain_id, staff_user
from billing.invoicing.models import Invoice
from billing.payments import transfer_files, transfers
from billing.payments.models import BankTransfer, Payment
from billing.payments.transfer_files import Imported, UnusableFile
from billing.wording import amounts

MAX_SHOWN = 5


class UnmatchedQueue(admin.SimpleListFilter):
    """Transfers of which something is left."""

    title = lazy("work queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", _("To match"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[BankTransfer]) -> QuerySet[BankTransfer]:
        if self.value() != "open":
            return queryset
        return queryset.filter(pk__in=BankTransfer.objects.unmatched().values("pk"))


class MatchInline(FactsInline):
    """What the transfer has paid."""

    model = Payment
    fields = ("invoice", money_column("amount"), money_column("amount_refunded"), "created_at")
    readonly_fields = fields
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("invoice")


@admin.register(BankTransfer)
class BankTransferAdmin(QueueAdmin):
    """Money that came to the bank account, and what it has paid."""

    list_display = (
        plain_id, "received_on", money_column("amount"), money_column("left", ordering=None), "payer", "remittance",
        "reference",
    )  # fmt: skip
    list_filter = (UnmatchedQueue, "currency")
    search_fields = ("=id", "=reference", "payer", "=payer_account", "remittance", "=payments__invoice__number")
    ordering = ("-id",)
    inlines = (MatchInline,)
    fields = (
        "reference", "received_on", money_column("amount"), money_column("left", ordering=None),
        money_column("amount_matched"), money_column("amount_returned"), "note", "payer", "payer_account", "remittance",
        "recorded_at", "actor",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        site = self.admin_site
        own = [
            path("record/", site.admin_view(self.record_view), name="billing_banktransfer_record"),
            path("import/", site.admin_view(self.import_view), name="billing_banktransfer_import"),
            path("<int:pk>/match/", site.admin_view(self.match_view), name="billing_banktransfer_match"),
            path("<int:pk>/return/", site.admin_view(self.return_view), name="billing_banktransfer_return"),
        ]
        return [*own, *super().get_urls()]

    def list_pages(self, request: HttpRequest) -> list[Act]:
        pages = [Act(_("To match"), f"{self.page_url('changelist')}?queue=open")]
        if self._may_record(request):
            pages.append(Act(_("Record a transfer"), self.page_url("record")))
            pages.append(Act(_("Read a statement"), self.page_url("import")))
        return pages

    def list_acts(self, request: HttpRequest, row: BankTransfer) -> list[Act]:
        if not self.has_act_permission(request) or not row.left:
            return []
        return [
            Act(_("Match with an invoice"), self.page_url("match", row)),
            Act(_("Sent back"), self.page_url("return", row)),
        ]

    def record_view(self, request: HttpRequest) -> HttpResponse:
        """Record a transfer, and match it where there is no doubt."""
        self.require(self._may_record(request))
        form = RecordForm(request.POST or None)
        if request.method == "POST" and form.is_valid() and (row := self._record(request, form)) is not None:
            return HttpResponseRedirect(self.page_url("change", row))
        return self.render_act(request, None, title=_("Record a transfer"), button=_("Record"), form=form)

    def _record(self, request: HttpRequest, form: RecordForm) -> BankTransfer | None:
        now = timezone.now()
        try:
            row, is_new = transfers.record(**form.cleaned_data, actor=f"user:{staff_user(request).pk}", now=now)
        except transfers.ReferenceTaken:
            form.add_error("reference", _("Another transfer has this reference."))
            return None
        except ValueError:
            form.add_error("amount", _("The currency has no such fraction."))
            return None
        if not is_new:
            trail.settle(request)
            self.message_user(request, _("This transfer had been recorded before."), messages.WARNING)
            return row
        self.note(request, "record", row)
        chosen = transfers.choose(row)
        if not chosen:
            self.message_user(request, _("Recorded. Say now which invoice it pays."))
            if hint := _settled_text(row):
                self.message_user(request, hint, messages.WARNING)
            return row
        self._match_chosen(request, [row], reference=f"transfer:{row.pk}")
        return row

    def _match_chosen(self, request: HttpRequest, rows: Sequence[BankTransfer], *, reference: str) -> None:
        """Ask for what transfers pay without doubt, one act for each currency."""
        by_currency: dict[str, list[tuple[BankTransfer, Invoice, Decimal | None]]] = {}
        for row in rows:
            by_currency.setdefault(row.currency, []).extend((row, invoice, None) for invoice in transfers.choose(row))
        for currency, chosen in by_currency.items():
            if not chosen:
                continue
            done = asking.ask_quietly(
                request, act="match", account_id=_only([invoice.account_id for _row, invoice, _part in chosen]),
                payload=money.match_payload(chosen), reference=f"{reference}:{currency}",
                reason=_("The payer named the invoice, or it is the only one of this amount."),
            )  # fmt: skip
            numbers = ", ".join(str(invoice) for _row, invoice, _part in chosen[:MAX_SHOWN])
            if done is None:
                continue
            if asking.waits(done):
                text = _("Recorded. That it pays %(numbers)s waits until a second person approves it.")
                self.message_user(request, text % {"numbers": numbers}, messages.WARNING)
            else:
                self.message_user(request, _("Recorded. It pays: %(numbers)s.") % {"numbers": numbers})

    @trail.apart
    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Read a statement; each row is a transaction of its own, so it may be read again."""
        self.require(self._may_record(request))
        form = ImportForm(request.POST or None, request.FILES or None, initial={"token": uuid.uuid4()})
        if request.method == "POST" and form.is_valid():
            text = io.TextIOWrapper(form.cleaned_data["file"].file, encoding="utf-8", newline="")
            try:
                done = transfer_files.import_file(
                    text, reading=form.reading, matches=False, actor=f"user:{staff_user(request).pk}",
                    now=timezone.now(),
                )  # fmt: skip
            except UnusableFile as error:
                form.add_error("file", str(error))
            else:
                self._tell(request, done)
                with transaction.atomic():
                    self._match_chosen(request, done.recorded, reference=f"statement:{form.cleaned_data['token']}")
                return HttpResponseRedirect(f"{self.page_url('changelist')}?queue=open")
        return self.render_act(request, None, title=_("Read a bank statement"), button=_("Read"), form=form)

    def _tell(self, request: HttpRequest, done: Imported) -> None:
        counts = {"new": done.new, "known": done.known, "outgoing": done.outgoing}
        trail.note(request, "import", None, after={**counts, "refused": len(done.refused)})
        text = _("%(new)d new, %(known)d known, %(outgoing)d going out.") % counts
        self.message_user(request, text, messages.SUCCESS)
        for refused in done.refused[:MAX_SHOWN]:
            text = _("Line %(line)d was not read: %(reason)s") % {"line": refused.line, "reason": refused.reason}
            self.message_user(request, text, messages.ERROR)
        if (more := len(done.refused) - MAX_SHOWN) > 0:
            text = ngettext("%(count)d more line was not read.", "%(count)d more lines were not read.", more)
            self.message_user(request, text % {"count": more}, messages.ERROR)

    def match_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Say which invoice a transfer pays, once per rendered form."""
        row = self._get(request, pk)
        suggested = transfers.suggest(row)
        initial = {"token": uuid.uuid4(), "invoice": suggested[0].invoice.number if suggested else ""}
        form = MatchForm(request.POST or None, initial=initial)
        if request.method == "POST" and form.is_valid():
            invoice = form.cleaned_data["invoice"]
            payload = money.match_payload([(row, invoice, form.cleaned_data["amount"])])
            done = asking.ask(request, form, act="match", account_id=invoice.account_id, payload=payload)
            if done is not None:
                amount = amounts.money_text(done.approval.amount, row.currency)
                said = _("%(amount)s paid on %(invoice)s.") % {"amount": amount, "invoice": invoice}
                return asking.answer(request, done, said=said, to=self.page_url("change", row))
        facts = [*_facts(row), *((_("It may be for"), _suggestion_text(each)) for each in suggested)]
        title, button = _("Which invoice does it pay?"), _("Match")
        return self.render_act(
            request, row, title=title, button=button, form=form, facts=facts, warning=_settled_text(row)
        )

    def return_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Record that staff have sent money of a transfer back."""
        row = self._get(request, pk)
        form = ReturnForm(request.POST or None, initial={"token": uuid.uuid4()})
        if request.method == "POST" and form.is_valid():
            amount = form.cleaned_data["amount"]
            payload = {"transfer_id": pk, "amount": None if amount is None else str(amount)}
            done = asking.ask(request, form, act="return_transfer", account_id=None, payload=payload)
            if done is not None:
                return asking.answer(request, done, said=_("Noted as sent back."), to=self.page_url("change", row))
        title, button = _("Money was sent back to the payer"), _("Note it")
        return self.render_act(request, row, title=title, button=button, form=form, facts=_facts(row))

    def _may_record(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("billing.add_banktransfer"))

    def _get(self, request: HttpRequest, pk: int) -> BankTransfer:
        row = BankTransfer.objects.filter(pk=pk).first()
        if row is None:
            raise Http404
        self.require(self.has_act_permission(request))
        return row


def _only(ids: Sequence[int]) -> int | None:
    """The account that all is about, if it is one."""
    return ids[0] if len(set(ids)) == 1 else None


def _facts(row: BankTransfer) -> list[tuple[str, object]]:
    return [
        (_("Received on"), row.received_on),
        (_("Amount"), amounts.money_text(row.amount, row.currency)),
        (_("Left of it"), amounts.money_text(row.left, row.currency)),
        (_("Payer"), f"{row.payer} {row.payer_account}".strip() or "-"),
        (_("The payer wrote"), row.remittance or "-"),
    ]


def _settled_text(row: BankTransfer) -> str:
    """That an invoice which the payer named needs no money, and what to do; empty where there is none."""
    named = transfers.list_named_settled(row) if row.left else []
    if not named:
        return ""
    said = ", ".join(
        _("%(invoice)s (%(state)s)") % {"invoice": invoice.number, "state": invoice.get_state_display().lower()}
        for invoice in named
    )
    return _(
        "The payer names %(invoices)s, on which nothing is owed. Match another invoice of the customer, or send the"
        " money back and record that as returned."
    ) % {"invoices": said}


def _suggestion_text(suggestion: transfers.Suggestion) -> str:
    invoice = suggestion.invoice
    owed = amounts.money_text(invoice.owed, invoice.currency)
    facts = {"number": invoice.number, "account": invoice.account.name, "owed": owed}
    if suggestion.is_named:
        return _("%(number)s of %(account)s, which owes %(owed)s: the payer wrote its number") % facts
    return _("%(number)s of %(account)s, which owes %(owed)s") % facts
