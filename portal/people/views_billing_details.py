"""What invoices say about the account, and where they go."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from billing.accounts import details
from billing.catalog import currencies
from billing.invoicing import issuing, tax_numbers
from billing.invoicing.tax_models import TaxExemption
from billing.subscriptions.agreement import account_currency
from portal.access import Visit, account_page, require_manager
from portal.frame import render_page
from portal.people.forms import CurrencyForm, DetailsForm


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def billing_details(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Show the details; on POST change them. Issued invoices stay as they are."""
    require_manager(visit)
    names = list(DetailsForm.base_fields)
    initial = {name: getattr(visit.account, name) for name in names}
    act = request.POST.get("act", "")
    form = DetailsForm(request.POST if request.method == "POST" and act != "currency" else None, initial=initial)
    currency_form = _currency_form(request, visit)
    if act == "currency" and (done := _change_currency(request, visit, currency_form)):
        return done
    if form.is_bound and form.is_valid():
        changes = {name: form.cleaned_data[name] for name in names}
        is_other_number = any(getattr(visit.account, name) != changes[name] for name in ("country", "tax_number"))
        details.change(account_id=visit.account.pk, changes=changes)
        messages.success(request, _("Saved. Your next invoices show these details."))
        if is_other_number:
            # So that the page that follows can say what became of it; when nobody answers, it is asked about later.
            tax_numbers.check(account_id=visit.account.pk, now=visit.now)
        return redirect(visit.url("billing_details"))
    context = {
        "form": form,
        "currency_form": currency_form,
        "standing": tax_numbers.standing(visit.account),
        "certificates": _list_certificates(visit),
    }
    has_errors = bool(form.errors or (currency_form and currency_form.errors))
    return render_page(request, visit, "billing_details", context, status=422 if has_errors else 200)


def _currency_form(request: HttpRequest, visit: Visit) -> CurrencyForm | None:
    """What else the account could pay in; None when it cannot be changed any more, or nothing else is sold."""
    sold = currencies.list_sold()
    if not set(sold) - {visit.account.currency} or not account_currency.is_changeable(visit.account.pk):
        return None
    data = request.POST if request.POST.get("act") == "currency" else None
    return CurrencyForm(data, codes=sold, initial={"currency": visit.account.currency})


def _change_currency(request: HttpRequest, visit: Visit, form: CurrencyForm | None) -> HttpResponse | None:
    """Change the currency and go on; None when the form says what is wrong."""
    try:
        if form is None:
            raise account_currency.CurrencyFixed
        if not form.is_valid():
            return None
        account_currency.change(account_id=visit.account.pk, currency=form.cleaned_data["currency"])
    except (account_currency.CurrencyFixed, account_currency.NotSold):
        messages.error(request, _("The currency cannot be changed any more: it is in use."))
    else:
        messages.success(request, _("Currency changed."))
    return redirect(visit.url("billing_details"))


def _list_certificates(visit: Visit) -> list[TaxExemption]:
    """Certificates that count, or will: the account knows those that are past."""
    today = issuing.supply_date(visit.account, visit.now)
    rows = visit.account.tax_exemptions.filter(Q(valid_to=None) | Q(valid_to__gt=today), withdrawn_at=None)
    return list(rows.order_by("valid_from", "pk"))
