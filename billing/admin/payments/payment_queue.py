"""Payments that staff should look at: the queue on the first page, and the filter of the list of payments."""

from django.db.models import BigIntegerField, Case, Exists, OuterRef, Q, QuerySet, When
from django.db.models.functions import Cast, Substr

from billing.invoicing.models import Invoice
from billing.payments.models import Collection, Payment
from billing.subscriptions.followup.payment_news import PURPOSE
from billing.subscriptions.models import Subscription


def list_needing_staff() -> QuerySet[Payment]:
    """Payments whose outcome is unknown or about which something is odd, and the last failed one of each invoice that
    is still to be collected. A failed payment leaves the queue when its invoice is paid, voided or given up, or when
    the subscription that it was for has ended."""
    newer = Payment.objects.filter(invoice=OuterRef("invoice"), pk__gt=OuterRef("pk"))
    failed = Q(state=Payment.State.FAILED, invoice__state=Invoice.State.OPEN) & ~Exists(newer) & ~Exists(_ended())
    odd = Q(state__in=Payment.LIVE) & (~Q(problem="") | Q(state=Payment.State.UNKNOWN))
    return Payment.objects.filter(failed | odd)


def _ended() -> QuerySet[Collection]:
    """The collection of a payment's invoice, if it is one of a subscription that has ended."""
    number = Case(When(purpose__startswith=PURPOSE, then=Cast(Substr("purpose", len(PURPOSE) + 1), BigIntegerField())))
    ended = Subscription.objects.filter(pk=OuterRef("subscription"), state=Subscription.State.ENDED)
    mine = Collection.objects.filter(invoice=OuterRef("invoice")).annotate(subscription=number)
    return mine.filter(Exists(ended))
