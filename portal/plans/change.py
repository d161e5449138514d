"""Where somebody who has a plan chooses another one, or other seats."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from billing.invoicing import engines, issuing, tax
from billing.subscriptions import guards
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.lifecycle import changes, subscribing
from billing.subscriptions.models import Subscription, SubscriptionChange
from portal.plans.forms import PlanForm
from portal.plans.quotes import Sheet, rows_of_change, sheet_to_change
from portal.plans.subscribe import GONE, NO_ISSUER, NO_TAX, Asked, Desk, pay_now, reference_of
from portal.plans.wording import has_seats

UNPAID = _lazy(
    "An invoice of your plan is not paid yet, or its payment is disputed: pay it first, or let the change come with the"
    " next period."
)
SAME_SEATS = _lazy("That is what you have. Say how many seats you want, and what it costs or gives back stands here.")
USED = _lazy("Credits that would go back have been used already: let the change come with the next period.")


@dataclass(frozen=True)
class ChangeDesk(Desk):
    """Where the subscription an account has is changed. `terms` are the new ones, `current` those it has."""

    subscription: Subscription | None = None
    current: Terms | None = None
    is_seats: bool = False

    @property
    def _own(self) -> tuple[Subscription, Terms]:
        assert self.subscription is not None  # noqa: S101  for the type checker
        assert self.current is not None  # noqa: S101
        return self.subscription, self.current

    @property
    def begins_with(self) -> Asked:
        subscription, _current = self._own
        if not has_seats(self.terms):
            return Asked(seats=0)
        most = self.terms.version.seats_max
        seats = max(subscription.seats, self.terms.seats_included, 1)
        return Asked(seats=seats if most is None else min(seats, most))

    def price(self, asked: Asked) -> tuple[Sheet | None, str]:
        subscription, current = self._own
        try:
            preview = engines.with_tax(
                lambda: changes.preview_of(
                    subscription,
                    changes.Wanted(self.terms.version.pk, None, asked.seats, asked.when or None, None),
                    now=self.now,
                ),
                now=self.now,
            )
        except changes.NothingToChange:
            return None, str(SAME_SEATS) if self.is_seats else _("That is what you have already.")
        except subscribing.SeatsNotOffered:
            return None, self.too_many_seats
        except (guards.NotAllowed, guards.RenewalDue):
            return None, _("Your plan cannot be changed at the moment. Please try again in a few minutes.")
        except changes.InvoiceUnpaid:
            return None, str(UNPAID)
        except changes.CreditsUsed:
            return None, str(USED)
        except (subscribing.PlanNotOffered, changes.CurrencyFixed):
            return None, str(GONE)
        except issuing.NoIssuer:
            return None, str(NO_ISSUER)
        except tax.TaxUnavailable:
            return None, str(NO_TAX)
        return sheet_to_change(preview, self.terms, current=current, is_manual=self._is_manual), ""

    @property
    def _is_manual(self) -> bool:
        return self._own[0].collection == Subscription.Collection.MANUAL

    def form(self, *args: Any, sheet: Sheet | None, **kwargs: Any) -> PlanForm:
        return PlanForm(
            *args,
            methods=self.methods,
            today=self.now.astimezone(self.visit.zone).date(),
            asks_card=sheet is not None and bool(sheet.total) and not self._is_manual,
            may_wait=False,
            **kwargs,
        )

    def page(self, form: PlanForm, sheet: Sheet | None, problem: str) -> dict[str, Any]:
        subscription, current = self._own
        seats = form["seats"].value()
        asked = int(seats) if str(seats or "").isdigit() else self.begins_with.seats
        name = {"plan": self.terms.plan_name}
        title = _("Change the seats of %(plan)s") if self.is_seats else _("Change to %(plan)s")
        return {
            **super().page(form, sheet, problem),
            "title": title % name,
            "is_seats": self.is_seats,
            "is_untouched": problem == str(SAME_SEATS),
            "subscription": subscription,
            "current": current,
            "asks_when": subscription.state != Subscription.State.TRIALING,
            "rows": rows_of_change(current, subscription.seats, self.terms, asked, only_seats=self.is_seats),
        }

    def confirm(self, request: HttpRequest, form: PlanForm, asked: Asked, sheet: Sheet) -> str:
        subscription, _current = self._own
        method_id, is_good = self.choose_method(form)
        if not is_good:
            return ""
        reference = reference_of(form.cleaned_data["token"])
        try:
            engines.with_tax(
                lambda: changes.change(
                    subscription_id=subscription.pk,
                    plan_version_id=self.terms.version.pk,
                    seats=asked.seats,
                    when=asked.when or None,
                    expected_total=sheet.total,
                    reference=reference,
                    actor=f"user:{self.visit.member.user_id}",
                    now=self.now,
                ),
                now=self.now,
            )
        except changes.TotalChanged:
            form.add_error(None, _("The price has changed since you saw it. Please look once more, then confirm."))
        except (changes.NothingToChange, guards.NotAllowed, guards.RenewalDue, guards.ReferenceConflict):
            form.add_error(None, _("Your plan cannot be changed like this any more. Nothing was charged."))
        except (subscribing.PlanNotOffered, subscribing.SeatsNotOffered, changes.CurrencyFixed):
            form.add_error(None, str(GONE))
        except changes.InvoiceUnpaid:
            form.add_error(None, str(UNPAID))
        except changes.CreditsUsed:
            form.add_error(None, str(USED))
        except tax.TaxUnavailable:
            form.add_error(None, str(NO_TAX))
        else:
            done = SubscriptionChange.objects.select_related("invoice").get(
                reference=guards.name(subscription, reference)
            )
            messages.success(request, self._said(done))
            target = self.visit.url("plan")
            if done.invoice is not None:
                pay_now(request, done.invoice, method_id=method_id, target=target, now=self.now)
                done.invoice.refresh_from_db(fields=["state"])
                if done.invoice.owed > 0:
                    return self.visit.url("invoice", invoice=done.invoice.pk)
            return target
        return ""

    def _said(self, done: SubscriptionChange) -> str:
        name = {"plan": self.terms.plan_name}
        if done.act == SubscriptionChange.Act.SCHEDULE:
            return _("It is noted: the change comes with the next period.")
        return _("Your seats are changed.") if self.is_seats else _("Your plan is %(plan)s now.") % name
