"""Subscriptions as the API shows them, and what its acts on them have in common."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from billing.accounts import ids
from billing.accounts.models import Account
from billing.api.base import caller, get_id
from billing.api.errors import Problem
from billing.api.fields import Amount, Document, Instant, PublicId
from billing.api.idempotency import ledger_reference
from billing.invoicing import engines
from billing.payments import collecting
from billing.subscriptions.charges import coupons
from billing.subscriptions.followup import payment_news
from billing.subscriptions.lifecycle import scheduled_change
from billing.subscriptions.models import Subscription, SubscriptionChange

TAGS = ["Subscriptions"]
OF_MONEY = ("no_issuer", "tax_unavailable")
MOST_SEATS = 1_000_000
MOST_TERMS_DAYS = 365
# How much of what follows from an act is seen to before the answer; a worker sees to the rest.
SOON = 5

# What an act's reference is made in, from its subscription or account and the caller's reference or Idempotency-Key.
_REFERENCES = uuid.UUID("b8f7a3de-5b1c-4d8e-9a51-0c9b7d1f3e64")


class QuoteLineDocument(Document):
    """A line as the invoice will have it: net amount, tax apart."""

    description = serializers.CharField(source="draft.description")
    quantity = Amount(source="draft.quantity")
    unit_price = Amount()
    amount = Amount(help_text="Money, before tax; negative for what goes back.")
    tax_name = serializers.CharField()
    tax_percent = Amount()
    tax_amount = Amount()
    starts_at = Instant(source="draft.starts_at", allow_null=True, help_text="What it is for begins.")
    ends_at = Instant(source="draft.ends_at", allow_null=True)


class SubscriptionQuoteDocument(Document):
    """An invoice before it is issued."""

    subtotal = Amount(help_text="Money, before tax.")
    tax_total = Amount()
    total = Amount(help_text="What is to be paid.")
    tax_note = serializers.CharField()
    lines = QuoteLineDocument(many=True)


class PlanRefDocument(Document):
    """Which plan, in which edition."""

    plan = serializers.CharField(source="plan.key")
    name = serializers.CharField(source="plan.name")
    plan_version = PublicId(ids.PLAN_VERSION, source="pk", help_text="As `/plans` has it in `id`.")
    interval = serializers.CharField()
    interval_count = serializers.IntegerField()


class ScheduledChangeDocument(Document):
    """A change that waits for the end of the period."""

    plan = PlanRefDocument(source="plan_version")
    seats = serializers.IntegerField()
    effective_at = Instant(source="subscription.period_ends_at")


class CouponDocument(Document):
    """A coupon that the subscription has."""

    code = serializers.CharField(source="coupon.code")
    name = serializers.CharField(source="coupon.name")
    percent = Amount(source="coupon.percent", allow_null=True)
    amount = Amount(source="coupon.amount", allow_null=True, help_text="Money of the subscription's currency.")
    periods_left = serializers.IntegerField(allow_null=True, help_text="Paid periods; null: no end.")


class SubscriptionDocument(Document):
    """That an account has a plan, period after period."""

    id = PublicId(ids.SUBSCRIPTION, source="pk")
    account = PublicId(ids.ACCOUNT, source="account_id")
    state = serializers.ChoiceField(
        Subscription.State.choices,
        help_text="`incomplete`: its first invoice waits for payment, and so do its credits. `cancelled`: runs until "
        "`period_ends_at`. `paused`: does not renew.",
    )
    plan = PlanRefDocument(source="plan_version")
    currency = serializers.CharField()
    seats = serializers.IntegerField()
    collection = serializers.ChoiceField(Subscription.Collection.choices)
    payment_terms_days = serializers.IntegerField(
        allow_null=True, help_text="Days to pay an invoice by transfer; null: the issuer's."
    )
    payment_method = PublicId(
        ids.PAYMENT_METHOD, source="method_id", allow_null=True, help_text="null: the account's default at the time."
    )
    period_number = serializers.IntegerField(help_text="0 is the trial.")
    period_starts_at = Instant()
    period_ends_at = Instant()
    next_due_at = Instant(allow_null=True, help_text="When its period or month of credits ends; null: nothing comes.")
    started_at = Instant()
    trial_ends_at = Instant(allow_null=True)
    past_due_at = Instant(allow_null=True, help_text="Since when an invoice of it is overdue.")
    paused_at = Instant(allow_null=True)
    cancelled_at = Instant(allow_null=True)
    cancel_reason = serializers.CharField()
    ended_at = Instant(allow_null=True)
    scheduled_change = ScheduledChangeDocument(source="waiting", allow_null=True)
    coupons = CouponDocument(many=True, source="coupons_left")
    invoice = PublicId(ids.INVOICE, source="last_invoice_id", allow_null=True, help_text="The last one of it.")


def one_plan(attrs: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, unless it names a plan in two ways."""
    if {"plan", "plan_version"} <= attrs.keys():
        raise serializers.ValidationError({"plan": "Give a plan or a plan_version, not both."}, code="invalid")
    return attrs


def rows() -> QuerySet[Subscription]:
    """All subscriptions, with what a document shows of other tables."""
    return Subscription.objects.select_related("account", "plan_version__plan")


def get_subscription(request: Request, text: str) -> Subscription:
    """The subscription of an id in a URL, if this key may know of it. Raises Problem `not_found`."""
    found = rows().filter(pk=get_id(ids.SUBSCRIPTION, text))
    own_id = caller(request).account_id
    if own_id is not None:
        found = found.filter(account_id=own_id)
    if (subscription := found.first()) is None:
        raise Problem("not_found")
    return subscription


def document_of(subscription: Subscription) -> dict[str, Any]:
    """A subscription as it is shown."""
    return documents_of([subscription])[0]


def documents_of(subscriptions: Sequence[Subscription]) -> list[dict[str, Any]]:
    """Subscriptions as they are shown; in as many queries for many as for one."""
    waiting = scheduled_change.find_all(subscriptions)
    taking_off = defaultdict(list)
    for redemption in coupons.active_of([each.pk for each in subscriptions]):
        taking_off[redemption.subscription_id].append(redemption)
    billed = SubscriptionChange.objects.filter(subscription__in=subscriptions).exclude(invoice=None)
    last = billed.order_by("subscription", "-pk").distinct("subscription").values_list("subscription", "invoice")
    last_invoices = dict(last)
    for each in subscriptions:
        more = {
            "waiting": waiting.get(each.pk),
            "coupons_left": taking_off[each.pk],
            "last_invoice_id": last_invoices.get(each.pk),
        }
        for name, value in more.items():
            setattr(each, name, value)
    return [SubscriptionDocument(each).data for each in subscriptions]


def priced(act: Callable[[], Any]) -> Any:
    """Do what quotes or bills, once the tax engine has been asked. That happens in real time, whatever a clock says."""
    return engines.with_tax(act, now=timezone.now())


def follow_up(account: Account, now: datetime) -> None:
    """Let what an act billed be collected, and the subscription follow what becomes of it."""
    collecting.run_due(now=now, limit=SOON, account_id=account.pk)
    payment_news.follow_up(now=now, limit=SOON, account_id=account.pk)


def reference_of(request: Request, pk: int, asked: dict[str, Any]) -> str:
    """How the room knows an act on the subscription, or for the account, of this primary key."""
    return str(uuid.uuid5(_REFERENCES, f"{pk}\n{ledger_reference(request, asked.get('reference'))}"))
