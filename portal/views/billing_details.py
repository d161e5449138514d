"""What invoices say about the account, and where they go."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from billing.accounts import details
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
        details.change(account_id=visit.account.pk, changes={name: form.cleaned_data[name] for name in names})
        messages.success(request, _("Saved. Invoices from now on say so."))
        return redirect(visit.url("billing_details"))
    return render_page(request, visit, "billing_details", {"form": form}, status=422 if form.errors else 200)
