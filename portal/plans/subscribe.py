"""Where a plan is chosen: what a form asks for, what that would do, and doing it. `change_desk` is for those who have a
plan already."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from billing.invoicing import engines, issuing, tax
from billing.invoicing.models import Invoice
from billing.payments import methods, paying
from billing.payments.models import PaymentMethod
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.charges import coupons
from billing.subscriptions.lifecycle import subscribing
from billing.subscriptions.models import Subscription
from portal.access import Visit
from portal.money.cards import choose_method, test_cards
from portal.money.payment_progress import settle
from portal.plans.forms import COUPON_REFUSALS, PlanForm
from portal.plans.quotes import Sheet, sheet_to_subscribe
from portal.plans.wording import has_seats

NO_ISSUER = _lazy("Nothing can be sold at the moment: the seller's details are missing. Please tell our staff.")
GONE = _lazy("This plan is not on offer any more. Nothing was charged.")
TAKEN = _lazy("This account has a plan already. Nothing was charged.")
NO_TAX = _lazy("The tax cannot be worked out at the moment. Nothing was charged; please try again soon.")
CARD_GONE = _lazy("This card was removed. Choose another one.")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a form says of the plan: how many seats, with which coupon, from when (empty: as is usual)."""

    seats: int
    coupon: str = ""
    when: str = ""


@dataclass(frozen=True)
class Desk:
    """Where an account without a plan subscribes to one. `here` is the address of the page; `is_used`: its form has
    done what it is for; `unpaid` is a subscription that waits for its first payment."""

    visit: Visit
    terms: Terms
    here: str
    now: datetime
    methods: list[PaymentMethod] = field(default_factory=list)
    is_used: bool = False
    unpaid: Subscription | None = None

    @property
    def begins_with(self) -> Asked:
        """What the form asks for before anybody has touched it."""
        return Asked(seats=self.terms.seats_included or int(has_seats(self.terms)))

    def price(self, asked: Asked) -> tuple[Sheet | None, str]:
        """What it would do and cost, or why it cannot be done."""
        account = self.visit.account
        try:
            with coupons.guess(account_id=account.pk, code=asked.coupon, now=self.now):
                preview = engines.with_tax(
                    lambda: subscribing.preview_of(
                        account=account,
                        version=self.terms.version,
                        seats=asked.seats,
                        currency=self.terms.currency,
                        coupon_code=asked.coupon,
                        live=self.unpaid,
                        now=self.now,
                    ),
                    now=self.now,
                )
        except tax.TaxUnavailable:
            return None, str(NO_TAX)
        except subscribing.AlreadySubscribed:
            return None, str(TAKEN)
        except subscribing.SeatsNotOffered:
            return None, self.too_many_seats
        except coupons.CouponRefused as refusal:
            return None, str(COUPON_REFUSALS[refusal.reason])
        except issuing.NoIssuer:
            return None, str(NO_ISSUER)
        return sheet_to_subscribe(preview), ""

    @property
    def too_many_seats(self) -> str:
        """Why fewer seats must be chosen."""
        return _("This plan has at most %(count)s seats.") % {"count": self.terms.version.seats_max}

    def form(self, *args: Any, sheet: Sheet | None, **kwargs: Any) -> PlanForm:
        """The form; with the fields of a card unless it costs nothing."""
        return PlanForm(
            *args,
            methods=self.methods,
            today=timezone.localdate(self.now),
            asks_card=sheet is not None and bool(sheet.total),
            may_wait=bool(self.terms.version.trial_days),
            **kwargs,
        )

    def page(self, form: PlanForm, sheet: Sheet | None, problem: str) -> dict[str, Any]:
        """What the page shows."""
        return {
            "title": _("Subscribe to %(plan)s") % {"plan": self.terms.plan_name},
            "here": self.here,
            "form": form,
            "terms": self.terms,
            "seats_counted": has_seats(self.terms),
            "offer": sheet,
            "problem": problem,
            "test_cards": test_cards(self.visit.account),
        }

    def choose_method(self, form: PlanForm) -> tuple[int | None, bool]:
        """The card that a valid form names, if it names one, and whether that went well; else the form says why not."""
        if form.pays_later:
            return None, True
        method_id = choose_method(form, self.visit.account, now=self.now)
        return method_id, method_id is not None

    def confirm(self, request: HttpRequest, form: PlanForm, asked: Asked, sheet: Sheet) -> str:
        """Do what a valid form says; where to see what became of it. Empty: it could not be done, the form says why."""
        method_id, is_good = self.choose_method(form)
        if not is_good:
            return ""
        account_id = self.visit.account.pk
        try:
            with coupons.guess(account_id=account_id, code=asked.coupon, now=self.now):
                subscription = engines.with_tax(
                    lambda: subscribing.subscribe(
                        account_id=account_id,
                        plan_version_id=self.terms.version.pk,
                        seats=asked.seats,
                        currency=self.terms.currency,
                        coupon_code=asked.coupon,
                        method_id=method_id,
                        reference=reference_of(form.cleaned_data["token"]),
                        actor=f"user:{self.visit.member.user_id}",
                        now=self.now,
                    ),
                    now=self.now,
                )
        except (subscribing.AlreadySubscribed, subscribing.ReferenceTaken):
            form.add_error(None, str(TAKEN))
        except (subscribing.PlanNotOffered, subscribing.NoPrice, subscribing.SeatsNotOffered):
            form.add_error(None, str(GONE))
        except tax.TaxUnavailable:
            form.add_error(None, str(NO_TAX))
        except coupons.CouponRefused as refusal:
            form.add_error("coupon", str(COUPON_REFUSALS[refusal.reason]))
        except methods.MethodNotUsable:
            form.add_error("method", str(CARD_GONE))
        else:
            target = self.visit.url("plan")
            begun = subscription.changes.select_related("invoice").order_by("pk").first()
            if begun is not None and begun.invoice is not None:
                pay_now(request, begun.invoice, method_id=method_id, target=target, now=self.now)
            return target
        return ""


def reference_of(token: uuid.UUID) -> str:
    """What an act of a form is known by."""
    return f"portal:{token}"


def pay_now(request: HttpRequest, invoice: Invoice, *, method_id: int | None, target: str, now: datetime) -> None:
    """Charge what has just been agreed to while the customer is there to confirm it at their bank, and see at once to
    what follows from it. It is the first try of the invoice's collection, which goes on with whatever comes of it."""
    collection = getattr(invoice, "collection", None)
    if method_id is None or collection is None or not collection.is_automatic or invoice.owed <= 0:
        return
    try:
        paying.pay(
            invoice_id=invoice.pk,
            method_id=method_id,
            key=f"collection:{collection.pk}:1",
            off_session=False,
            return_url=request.build_absolute_uri(f"{target}?from=bank"),
            now=now,
        )
    except (paying.PaymentUnderWay, paying.InvoiceNotPayable, methods.MethodNotUsable):
        return
    settle(invoice, now=now)
