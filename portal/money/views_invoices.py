"""Invoices: the list, one with its papers and payments, and the documents."""

from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from billing.invoicing import documents, einvoice
from billing.invoicing.models import Invoice
from billing.payments import invoice_credits, methods, paying
from billing.payments.gateways import registry
from billing.payments.models import Payment
from billing.wording import csv_files
from portal.access import Visit, account_page, require_manager
from portal.frame import render_page
from portal.money.cards import choose_method, test_cards
from portal.money.dunning import list_steps
from portal.money.forms import InvoiceFilter, PayForm
from portal.money.invoices import COLUMNS, csv_rows, find_invoice, list_invoices, read_page, sum_taxes
from portal.money.payment_progress import Progress, answer_poll, read_progress, settle


@require_safe
@account_page
def invoices(request: HttpRequest, visit: Visit) -> HttpResponse:
    """A page of invoices. A filter that makes no sense shows its errors and no invoices."""
    form = InvoiceFilter(request.GET)
    valid = form.is_valid()
    found = form.narrow(list_invoices(visit.account), visit.zone) if valid else Invoice.objects.none()
    page = read_page(found, before=_id(request.GET.get("before")))
    wanted = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
    context: dict[str, Any] = {
        "form": form,
        "now": visit.now,
        "invoices": page.invoices,
        "balances": invoice_credits.balances(visit.account.pk).items(),
        "filtered": bool(wanted),
        "csv_url": _address(visit.url("invoices_csv"), wanted) if valid else "",
        "older_url": _address(visit.url("invoices"), {**wanted, "before": str(page.older)}) if page.older else "",
        "newest_url": _address(visit.url("invoices"), wanted) if "before" in request.GET else "",
    }
    return render_page(request, visit, "invoices", context)


@require_safe
@account_page
def export(request: HttpRequest, visit: Visit) -> HttpResponseBase:
    """The filtered invoices, all of them, as a CSV file."""
    form = InvoiceFilter(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest(_("This filter makes no sense."), content_type="text/plain")
    rows = csv_rows(form.narrow(list_invoices(visit.account), visit.zone), visit.zone)
    return csv_files.respond(f"invoices-{timezone.localdate().isoformat()}", COLUMNS, rows)


@require_safe
@account_page
def invoice(request: HttpRequest, visit: Visit, invoice: int) -> HttpResponse:
    """One invoice with its payments and credit notes, and a form to pay what is owed; waits for a payment under way."""
    shown = get_invoice(visit, invoice)
    now = visit.now
    last = next(iter(shown.payments.all()), None)
    progress = read_progress(shown, last, now=now)
    if (answer := answer_poll(request, progress)) is not None:
        return answer
    form = new_pay_form(visit, now=now) if progress.is_payable and visit.is_manager else None
    return render_page(request, visit, "invoice", page_of(request, shown, progress, form, now=now))


@sensitive_post_parameters("number", "expiry", "cvc")
@account_page
@require_POST
def pay(request: HttpRequest, visit: Visit, invoice: int) -> HttpResponse:
    """Pay what is owed, once per rendered form; goes on to where the payment can be watched."""
    require_manager(visit)
    now = visit.now
    owed = get_invoice(visit, invoice)
    target = _page_to_watch(visit, owed)
    form = new_pay_form(visit, request.POST, now=now)
    if form.is_valid():
        key = f"invoice:{owed.pk}:{form.cleaned_data['token']}"
        if Payment.objects.filter(idempotency_key=key).exists():
            return redirect(target)
        last = next(iter(owed.payments.all()), None)
        if not read_progress(owed, last, now=now).is_payable:
            return redirect(target)
        method_id = choose_method(form, visit.account, now=now)
        if method_id is not None:
            return_url = request.build_absolute_uri(f"{target}?from=bank")
            try:
                paying.pay(
                    invoice_id=owed.pk, method_id=method_id, key=key, off_session=False, return_url=return_url, now=now
                )
            except paying.MethodNotUsable:
                form.add_error("method", _("This card was removed. Choose another one."))
            except (paying.PaymentUnderWay, paying.InvoiceNotPayable):
                return redirect(target)
            else:
                settle(owed, now=now)
                return redirect(target)
    last = next(iter(owed.payments.all()), None)
    progress = read_progress(owed, last, now=now)
    if not progress.is_payable:
        return redirect(target)
    return render_page(request, visit, "invoice", page_of(request, owed, progress, form, now=now), status=422)


@require_safe
@account_page
def pdf(request: HttpRequest, visit: Visit, invoice: int) -> HttpResponse:
    """The invoice as a PDF file."""
    shown = get_invoice(visit, invoice)
    return _file(documents.invoice_pdf(shown.pk), shown.number or "")


@require_safe
@account_page
def xml(request: HttpRequest, visit: Visit, invoice: int) -> HttpResponse:
    """The e-invoice as an XML file; 404 where the norm cannot say the invoice."""
    shown = get_invoice(visit, invoice)
    try:
        content = einvoice.invoice_xml(shown, list(shown.lines.all()))
    except einvoice.NotPossible as reason:
        raise Http404(str(reason)) from None
    return _file(content, shown.number or "", "xml")


@require_safe
@account_page
def credit_note_pdf(request: HttpRequest, visit: Visit, invoice: int, note: int) -> HttpResponse:
    """A credit note of the invoice as a PDF file."""
    found = next((each for each in get_invoice(visit, invoice).credit_notes.all() if each.pk == note), None)
    if found is None:
        raise Http404("No such credit note.")
    return _file(documents.credit_note_pdf(found.pk), found.number)


def new_pay_form(visit: Visit, data: QueryDict | None = None, *, now: datetime) -> PayForm:
    """A form to pay with; an empty one has a token of its own."""
    cards = registry.how_cards_come(visit.account)
    kept = methods.list_methods(visit.account.pk)
    return PayForm(data, methods=kept, cards=cards, today=timezone.localdate(now))


def page_of(
    request: HttpRequest, invoice: Invoice, progress: Progress, form: PayForm | None, *, now: datetime
) -> dict[str, Any]:
    """What the page of an invoice shows."""
    return {
        "invoice": invoice,
        "now": now,
        "progress": progress,
        "form": form,
        "test_cards": test_cards(invoice.account),
        "from_bank": request.GET.get("from") == "bank",
        "taxes": sum_taxes(invoice),
        "has_xml": not einvoice.why_not(invoice),
        "steps": list_steps(invoice.collection, now=now) if hasattr(invoice, "collection") else [],
    }


def get_invoice(visit: Visit, pk: int) -> Invoice:
    """An issued invoice of the account; 404 for a draft, another account's or none at all."""
    invoice = find_invoice(visit.account, pk)
    if invoice is None:
        raise Http404("No such invoice.")
    return invoice


def _page_to_watch(visit: Visit, invoice: Invoice) -> str:
    """Where the payment of an invoice is watched: on the page of what it begins, a purchase or a plan, else its own."""
    kind, _colon, token = invoice.reference.partition(":")
    if kind == "purchase":
        return visit.url("purchase", token=token)
    if kind == "subscription":
        return visit.url("plan")
    return visit.url("invoice", invoice=invoice.pk)


def _file(content: bytes, number: str, kind: str = "pdf") -> HttpResponse:
    # A number begins with what staff typed, so only what is safe in a header goes into the name.
    name = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "-" for sign in number)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"'}
    return HttpResponse(content, content_type=f"application/{kind}", headers=headers)


def _id(text: str | None) -> int | None:
    """An invoice's id out of an address; what is none is as good as absent."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _address(url: str, wanted: dict[str, str]) -> str:
    query = QueryDict(mutable=True)
    query.update(wanted)
    return f"{url}?{query.urlencode()}" if query else url
