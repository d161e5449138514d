"""What invoices say about the account, and where they go."""

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from billing.accounts import details
from billing.invoicing import issuing, tax_numbers
from billing.invoicing.models import TaxExemption
from portal.access import Visit, account_page, require_manager
from portal.forms_people import DetailsForm
from portal.views.frame import render_page


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def billing_details(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Show the details; on POST change them. Issued invoices stay as they are."""
    require_manager(visit)
    names = list(DetailsForm.base_fields)
    form = DetailsForm(request.POST or None, initial={name: getattr(visit.account, name) for name in names})
    if request.method == "POST" and form.is_valid():
        changes = {name: form.cleaned_data[name] for name in names}
        is_other_number = any(getattr(visit.account, name) != changes[name] for name in ("country", "tax_number"))
        details.change(account_id=visit.account.pk, changes=changes)
        messages.success(request, _("Saved. Invoices from now on say so."))
        if is_other_number:
            # So that the page that follows can say what became of it; when nobody answers, it is asked about later.
            tax_numbers.check(account_id=visit.account.pk, now=visit.now)
        return redirect(visit.url("billing_details"))
    context = {
        "form": form,
        "standing": tax_numbers.standing(visit.account),
        "certificates": _list_certificates(visit),
    }
    return render_page(request, visit, "billing_details", context, status=422 if form.errors else 200)


def _list_certificates(visit: Visit) -> list[TaxExemption]:
    """Certificates that count, or will: the account knows those that are past."""
    today = issuing.supply_date(visit.account, visit.now)
    rows = visit.account.tax_exemptions.filter(Q(valid_to=None) | Q(valid_to__gt=today), withdrawn_at=None)
    return list(rows.order_by("valid_from", "pk"))
