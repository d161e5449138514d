"""Voiding purchases that were not paid: nobody owes a pack that they did not get.

One whose payment failed can be paid for a day; it ends sooner when the account gets the same pack for the same pool
otherwise. Locks: the invoice's row.
"""

from datetime import datetime, timedelta

import structlog
from django.db import OperationalError
from django.db.models import Exists, OuterRef, Q, QuerySet

from billing.accounts import clocks
from billing.invoicing import crediting
from billing.invoicing.models import Invoice
from billing.payments import paying, voiding
from billing.payments.models import Payment
from billing.purchases.models import Purchase, TopUp

log = structlog.get_logger(__name__)

PAYABLE_FOR = timedelta(days=1)


def list_unpaid() -> QuerySet[Purchase]:
    """Purchases that are owed, for which no money has come and no payment is under way."""
    live = Payment.objects.filter(invoice=OuterRef("invoice"), state__in=Payment.LIVE)
    return Purchase.objects.filter(~Exists(live), invoice__state=Invoice.State.OPEN, invoice__amount_paid=0)


def void_due(*, now: datetime, limit: int, account_id: int | None = None) -> int:
    """Void at most `limit` purchases that have been unpaid for a day, or that another has replaced; how many. With
    `account_id` only that account's; without, what is on a test clock is left alone."""
    rows = list_unpaid().filter(Q(created_at__lte=now - PAYABLE_FOR) | _is_replaced())
    rows = clocks.narrow(rows, account_id=account_id).order_by("pk")
    return _void(list(rows.values_list("invoice_id", flat=True)[:limit]), now=now)


def void_replaced(*, account_id: int, now: datetime) -> int:
    """Void an account's unpaid purchases that another has replaced; how many."""
    rows = list_unpaid().filter(_is_replaced(), account=account_id).order_by("pk")
    return _void(list(rows.values_list("invoice_id", flat=True)), now=now)


def _is_replaced() -> Q:
    """Whether the same pack was bought for the same pool since, by hand or by itself."""
    paid = {"invoice__state": Invoice.State.PAID, "invoice__paid_at__gte": OuterRef("created_at")}
    again = Purchase.objects.filter(account=OuterRef("account"), pool=OuterRef("pool"), pack=OuterRef("pack"), **paid)
    by_rule = TopUp.objects.filter(rule__pool=OuterRef("pool"), rule__pack=OuterRef("pack"), **paid)
    return Q(Exists(again)) | Q(Exists(by_rule))


def _void(invoice_ids: list[int], *, now: datetime) -> int:
    done = 0
    for invoice_id in invoice_ids:
        try:
            voiding.void(invoice_id=invoice_id, now=now)
            done += 1
        except (paying.PaymentUnderWay, crediting.NotVoidable):
            # Its customer pays it at this very moment.
            continue
        except OperationalError:
            raise
        # Whatever is wrong with one must not keep the others.
        except Exception:
            log.exception("purchase.not_voided", invoice_id=invoice_id)
    return done
