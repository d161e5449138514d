"""What staff do to credits and money by hand: done at once within the author's limit, else by a second person's yes.

One transaction each: the row that allows an act (`Approval`), the act itself, and what others must be told of it. An
act's payload is JSON with everything it takes, so that what is approved is what was asked for.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import approvals, clocks, people
from billing.accounts.models import Approval, User
from billing.invoicing import tax
from billing.ledger import posting
from billing.ledger.models import CreditGrant, CreditPool, GrantKind
from billing.metering import reversal
from billing.notifications import outbox
from billing.notifications.wording import exact_credits_text, money_text
from billing.payments import credit_notes, paying, refunding
from billing.payments.models import Refund
from billing.purchases import refunds
from billing.subscriptions import acts as plan_acts
from billing.subscriptions import changes, lifecycle

# What staff need to ask for an act.
PERMISSIONS = {
    "grant": "billing.add_creditgrant",
    "revoke": "billing.add_creditgrant",
    "adjust": "billing.add_creditgrant",
    "reverse": "billing.add_posting",
    "unuse": "billing.add_eventreversal",
    "refund": "billing.add_refund",
    "credit": "billing.add_refund",
    "plan_change": "billing.change_subscription",
    "plan_cancel": "billing.change_subscription",
}
MAX_TOLD = 50
CREDIT_REFUSALS: dict[type[Exception], Any] = {
    credit_notes.NotCreditable: gettext_lazy("A draft or a void invoice cannot be credited."),
    credit_notes.NothingToCredit: gettext_lazy("Nothing is left to credit. A pack is refunded with its credits."),
    credit_notes.TooMuch: gettext_lazy("Less than that is left to credit."),
    credit_notes.WrongDestination: gettext_lazy("The invoice was paid or changed meanwhile. Start again."),
    credit_notes.MoneyNotThere: gettext_lazy("No single payment of the invoice has so much left to give back."),
    paying.PaymentUnderWay: gettext_lazy("A payment of the invoice is under way: wait for its outcome."),
}
# What the rooms refuse, and what staff are told of it.
_REFUSALS: dict[type[Exception], Any] = {
    posting.NotEnoughLeft: gettext_lazy("Fewer credits than that are left and not held."),
    posting.AlreadyReversed: gettext_lazy("It has been reversed already."),
    reversal.AlreadyReversed: gettext_lazy("It has been reversed already."),
    posting.NotReversible: gettext_lazy("Only a spend can be reversed here; usage is reversed event by event."),
    reversal.EventNotFound: gettext_lazy("The account has no such event."),
    reversal.ReadingSettled: gettext_lazy("This reading has been settled for good."),
    refunds.NotRefundable: gettext_lazy("Nothing of this purchase can be refunded any more."),
    refunds.NothingToRefund: gettext_lazy("Nothing of this purchase can be refunded any more."),
    refunds.NoPaymentToRefund: gettext_lazy("No payment of the invoice has so much left to give back."),
    posting.ReferenceConflict: gettext_lazy("Another posting has this reference."),
    plan_acts.NotAllowed: gettext_lazy("The subscription's state does not allow this."),
    plan_acts.RenewalDue: gettext_lazy("The subscription is about to be renewed: try again after that."),
    changes.NothingToChange: gettext_lazy("It has that plan and those seats already."),
    tax.TaxNotPrepared: gettext_lazy("The tax of it has to be worked out first. Ask for it anew."),
    **CREDIT_REFUSALS,
}


class CannotBeDone(Exception):
    """The act is not possible as things stand; the message says why. Nothing was written."""


def ask(
    *,
    user: User,
    account_id: int,
    act: str,
    payload: Mapping[str, Any],
    reference: str,
    amount: Decimal,
    currency: str = "",
    reason: str,
    now: datetime,
) -> tuple[Approval, bool]:
    """Do the act at once, or let it wait for a second person and tell those who may decide. Returns what allows it,
    and whether this call made that: repeating an act does nothing.

    Raises CannotBeDone, approvals.ReferenceConflict. Locks the author's row, then what the act locks.
    """
    with transaction.atomic():
        approval, is_new = approvals.ask(
            user=user, account_id=account_id, act=act, payload=payload, reference=reference, amount=amount,
            currency=currency, reason=reason, now=now,
        )  # fmt: skip
        if is_new and approval.state == Approval.State.IMMEDIATE:
            _do(approval, now=now)
        elif is_new:
            _tell_deciders(approval, now=now)
        return approval, is_new


def approve(*, approval_id: int, user: User, note: str, now: datetime) -> Approval:
    """Do a waiting act, and tell who asked for it.

    Raises approvals.AlreadyDecided, approvals.SamePerson, and CannotBeDone: then it goes on waiting.
    """
    with transaction.atomic():
        approval = approvals.approve(approval_id=approval_id, user=user, note=note, now=now)
        _do(approval, now=now)
        _tell_author(approval, now=now)
        return approval


def reject(*, approval_id: int, user: User, note: str, now: datetime) -> Approval:
    """Refuse a waiting act, and tell who asked for it. Raises approvals.AlreadyDecided, approvals.SamePerson."""
    with transaction.atomic():
        approval = approvals.reject(approval_id=approval_id, user=user, note=note, now=now)
        _tell_author(approval, now=now)
        return approval


def _do(approval: Approval, *, now: datetime) -> None:
    acts: dict[str, Callable[..., None]] = {
        "grant": _grant, "revoke": _revoke, "adjust": _adjust, "reverse": _reverse, "unuse": _unuse,
        "refund": _refund, "credit": _credit, "plan_change": _plan_change, "plan_cancel": _plan_cancel,
    }  # fmt: skip
    now = clocks.time_of(approval.account, now)
    try:
        acts[approval.act](approval, approval.payload, actor=f"user:{approval.requested_by_id}", now=now)
    except tuple(_REFUSALS) as error:
        raise CannotBeDone(str(_REFUSALS[type(error)])) from error


def _grant(approval: Approval, asked: dict[str, Any], *, actor: str, now: datetime) -> None:
    expires_at = _moment(asked["expires_at"])
    if expires_at is not None and expires_at <= now:
        raise CannotBeDone(_("The credits would have expired by now."))
    posting.grant(
        pool_id=asked["pool_id"],
        amount=approval.amount,
        kind=asked["kind"],
        reference=approval.reference,
        now=now,
        priority=asked["priority"],
        effective_at=_moment(asked["effective_at"]),
        expires_at=expires_at,
        cost_basis=Decimal(asked["cost_basis"]),
        currency=asked["currency"] or None,
        meter_id=asked["meter_id"],
        note=approval.reason,
        actor=actor,
    )


def _revoke(approval: Approval, asked: dict[str, Any], *, actor: str, now: datetime) -> None:
    amount = approval.amount
    if asked["amount"] is None:  # All that is left, but never more than what was counted.
        lot = CreditGrant.objects.get(pk=asked["grant_id"])
        amount = min(amount, lot.remaining - lot.held)
    if amount <= 0:
        raise CannotBeDone(_("Nothing is left of the lot."))
    posting.revoke(
        grant_id=asked["grant_id"],
        amount=amount,
        reference=approval.reference,
        now=now,
        note=approval.reason,
        actor=actor,
    )


def _adjust(approval: Approval, asked: dict[str, Any], *, actor: str, now: datetime) -> None:
    """Up: a new lot. Down: off the pool's lots, unpaid ones first, then those that would expire soonest."""
    pool_id, change = asked["pool_id"], Decimal(asked["change"])
    if change > 0:
        posting.grant(
            pool_id=pool_id, amount=change, kind=GrantKind.ADJUSTMENT, reference=approval.reference, now=now,
            note=approval.reason, actor=actor,
        )  # fmt: skip
        return
    list(CreditPool.objects.select_for_update(no_key=True).filter(pk=pool_id).values_list("pk"))
    left = -change
    for lot in sorted(CreditGrant.objects.filter(pool_id=pool_id, is_open=True), key=_first_to_go):
        taken = min(left, lot.remaining - lot.held)
        if taken > 0:
            reference = f"{approval.reference}:{lot.pk}"
            posting.revoke(
                grant_id=lot.pk, amount=taken, reference=reference, now=now, note=approval.reason, actor=actor
            )
            left -= taken
    if left:
        raise CannotBeDone(_("The pool has fewer credits than that which are not held."))


def _first_to_go(lot: CreditGrant) -> tuple[Any, ...]:
    never = lot.expires_at is None
    return (lot.cost_basis > 0, never, lot.expires_at or lot.created_at, lot.pk)


def _reverse(approval: Approval, asked: dict[str, Any], *, actor: str, now: datetime) -> None:
    posting.reverse(posting_id=asked["posting_id"], now=now, note=approval.reason[:200], actor=actor)


def _unuse(approval: Approval, asked: dict[str, Any], *, actor: str, now: datetime) -> None:
    reversal.reverse_event(
        account_id=approval.account_id, event_id=asked["event_id"], reason=approval.reason[:200], actor=actor, now=now
    )


def _refund(approval: Approval, asked: dict[str, Any], *, actor: str, now: datetime) -> None:
    credits = None if asked["credits"] is None else Decimal(asked["credits"])
    if refunds.preview(line_id=asked["line_id"], credits=credits, now=now).total > approval.amount:
        raise CannotBeDone(_("More would go back by now than was asked for."))
    refunds.start(
        line_id=asked["line_id"],
        credits=credits,
        reason=approval.reason,
        actor=actor,
        reference=approval.reference,
        now=now,
    )


def _credit(approval: Approval, asked: dict[str, Any], *, actor: str, now: datetime) -> None:
    note = credit_notes.start(
        invoice_id=asked["invoice_id"],
        amount=None if asked["amount"] is None else Decimal(asked["amount"]),
        lines={int(pk): Decimal(amount) for pk, amount in (asked["lines"] or {}).items()},
        refund_to=asked["refund_to"],
        reason=approval.reason,
        reference=approval.reference,
        actor=actor,
        now=now,
    )
    if note.total > approval.amount:
        raise CannotBeDone(_("More would be credited by now than was asked for."))


def _plan_change(approval: Approval, asked: dict[str, Any], *, actor: str, now: datetime) -> None:
    changes.change(**asked, by_staff=True, reference=approval.reference, actor=actor, now=now)


def _plan_cancel(approval: Approval, asked: dict[str, Any], *, actor: str, now: datetime) -> None:
    """End it now and give the unused days back."""
    lifecycle.cancel(
        **asked, when=changes.When.NOW, reason=approval.reason[:200], gives_back=True, reference=approval.reference,
        actor=actor, now=now,
    )  # fmt: skip


def send_refund(approval: Approval, *, now: datetime) -> None:
    """Send the money of a refund that has been done; whatever the gateway answers is on the refund's row. Must run
    outside a transaction; without it the periodic check sends it a little later."""
    names = [room.reference_of(approval.reference) for room in (refunds, credit_notes)]
    for refund in Refund.objects.filter(credit_note__account=approval.account_id, credit_note__reference__in=names):
        refunding.submit(refund_id=refund.pk, now=clocks.time_of(approval.account, now))


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def amount_text(approval: Approval) -> str:
    """What counts against the limit, in words: `250.5 credits`, `99.00 EUR`."""
    if approval.currency:
        return money_text(approval.amount, approval.currency)
    return _("%(amount)s credits") % {"amount": exact_credits_text(approval.amount)}


def _tell_deciders(approval: Approval, *, now: datetime) -> None:
    for person in people.staff_with("decide_approval").exclude(pk=approval.requested_by_id)[:MAX_TOLD]:
        _tell("approval_waiting", approval, person, now=now)


def _tell_author(approval: Approval, *, now: datetime) -> None:
    _tell("approval_decided", approval, approval.requested_by, now=now)


def _tell(kind: str, approval: Approval, person: User, *, now: datetime) -> None:
    decider = approval.decided_by
    outbox.write(
        kind=kind,
        dedupe_key=f"{kind}:{approval.pk}:{person.pk}",
        account_id=approval.account_id,
        payload={
            "approval_id": approval.pk,
            "act": approval.act,
            "amount": amount_text(approval),
            "account_name": approval.account.name,
            "reason": approval.reason,
            "requested_by": approval.requested_by.get_full_name(),
            "state": approval.state,
            "decided_by": decider.get_full_name() if decider else "",
            "note": approval.decision_note,
        },
        email=person.email,
        now=now,
    )
