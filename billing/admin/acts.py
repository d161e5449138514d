"""What staff do to credits, money and rights by hand: done immediately within the author's limit, else once a second
person has approved it.

One transaction each: the row that allows an act (`Approval`), the act itself, and what others must be notified of. What
an act is worth and what it does is in the list of powers (`billing.admin.powers`); its payload is JSON with everything
it takes, so that what is approved is what was asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import approvals, audit, clocks, members, people, throttles
from billing.accounts.approvals import Worth
from billing.accounts.models import Account, Approval, Member, User
from billing.admin.powers import POWERS, CannotBeDone
from billing.admin.powers.money import time_of
from billing.invoicing import crediting, drafting, issuing, pending, settling, tax
from billing.ledger import posting
from billing.metering import reversal
from billing.notifications import outbox
from billing.payments import by_hand, credit_notes, paying, transfers
from billing.purchases import refunds
from billing.subscriptions import guards as plan_acts
from billing.subscriptions.agreement import contracts, terms
from billing.subscriptions.charges import coupons
from billing.subscriptions.lifecycle import changes, subscribing
from billing.wording.amounts import exact_credits_text, money_text

__all__ = ["CannotBeDone", "Done", "approve", "ask", "finish", "reject", "worth_of"]

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
REFUSALS: dict[type[Exception], Any] = {
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
    plan_acts.ReferenceConflict: gettext_lazy("This form was sent before, with other values. Open a new one."),
    changes.CurrencyFixed: gettext_lazy("The plan has no price in the subscription's currency."),
    terms.NoPrice: gettext_lazy("The plan has no price in the subscription's currency."),
    subscribing.AlreadySubscribed: gettext_lazy("The account has a subscription: change that one, or end it first."),
    subscribing.MethodNotUsable: gettext_lazy("The card was removed meanwhile."),
    subscribing.PlanNotOffered: gettext_lazy("The plan is not on sale to the account in this currency."),
    subscribing.SeatsNotOffered: gettext_lazy("The plan is not sold for that many seats."),
    coupons.CouponRefused: gettext_lazy("The coupon cannot be redeemed: unknown, over, used up or for something else."),
    contracts.TermsOverlap: gettext_lazy("Other terms are agreed for a part of that time: end those first."),
    issuing.NoIssuer: gettext_lazy("There is no default issuer."),
    tax.TaxUnavailable: gettext_lazy("The tax cannot be worked out at the moment."),
    drafting.NotDraft: gettext_lazy("It is no draft any more."),
    crediting.NotVoidable: gettext_lazy("Money has come for it, or it is closed: write a credit note instead."),
    settling.NotPayable: gettext_lazy("Only an open invoice can be written off."),
    by_hand.CollectionClosed: gettext_lazy("It is over: the invoice is paid, void or written off."),
    pending.NotPending: gettext_lazy("It is on an invoice already."),
    transfers.OtherCurrency: gettext_lazy("The invoice is in another currency."),
    transfers.NothingOwed: gettext_lazy("Nothing is owed on the invoice any more."),
    transfers.TooMuch: gettext_lazy("That is more than is possible."),
    transfers.KeyTaken: gettext_lazy("This form was sent before, with other values. Open a new one."),
    throttles.Throttled: gettext_lazy("Too many invitations were sent just now. Try again later."),
    members.StaffMember: gettext_lazy("This person is staff: staff look at accounts and are in none."),
    members.AlreadyMember: gettext_lazy("This person is in that account already."),
    members.LastOwner: gettext_lazy("The account would be left without an owner."),
    Member.DoesNotExist: gettext_lazy("This person has been removed from the account; invite them again."),
    **CREDIT_REFUSALS,
}


@dataclass(frozen=True, slots=True)
class Done:
    """What allows an act, and whether this call made that. `row` is what the act changed or made and `before` how it
    was (empty where it is new), both None while the act waits or where an earlier call did it."""

    approval: Approval
    is_new: bool
    row: Model | None = None
    before: Mapping[str, Any] | None = None


def worth_of(act: str, payload: Mapping[str, Any], *, account_id: int | None, now: datetime) -> Worth:
    """What an act counts for against the author's day. Raises CannotBeDone where it is not possible as things stand."""
    if account_id is not None:
        now = clocks.time_of(Account.objects.get(pk=account_id), now)
    try:
        return POWERS[act].measure(payload, now)
    except tuple(REFUSALS) as error:
        raise CannotBeDone(_words(error)) from error


def ask(
    *,
    user: User,
    account_id: int | None,
    act: str,
    payload: Mapping[str, Any],
    reference: str,
    reason: str,
    now: datetime,
) -> Done:
    """Do the act immediately, or let it wait for a second person and notify those who may decide. What waits was
    possible when it was asked for: it has been tried and undone. Repeating an act does nothing.

    Raises CannotBeDone, approvals.ReferenceConflict. Locks the author's row, then what the act locks.
    """
    with transaction.atomic():
        first = approvals.find(user=user, act=act, payload=payload, reference=reference)
        if first is not None:
            return Done(first, False)
        worth = worth_of(act, payload, account_id=account_id, now=now)
        approval, is_new = approvals.ask(
            user=user, account_id=account_id, act=act, payload=payload, reference=reference, worth=worth,
            reason=reason, now=now,
        )  # fmt: skip
        if is_new and approval.state == Approval.State.IMMEDIATE:
            return _do(approval, now=now)
        if is_new:
            _try_out(approval, now=now)
            _tell_deciders(approval, now=now)
        return Done(approval, is_new)


def approve(*, approval_id: int, user: User, note: str, now: datetime) -> Done:
    """Do a waiting act, and notify who asked for it.

    Raises approvals.AlreadyDecided, approvals.SamePerson, and CannotBeDone, also where it would move more by now than
    was asked for: then it goes on waiting.
    """
    with transaction.atomic():
        approval = approvals.approve(approval_id=approval_id, user=user, note=note, now=now)
        worth = worth_of(approval.act, approval.payload, account_id=approval.account_id, now=now)
        if worth.exceeds(Worth(approval.credits, approval.amount, approval.currency)):
            raise CannotBeDone(_("It would move more by now than was asked for."))
        done = _do(approval, now=now)
        _tell_author(approval, now=now)
        return done


def reject(*, approval_id: int, user: User, note: str, now: datetime) -> Approval:
    """Refuse a waiting act, and notify who asked for it. Raises approvals.AlreadyDecided, approvals.SamePerson."""
    with transaction.atomic():
        approval = approvals.reject(approval_id=approval_id, user=user, note=note, now=now)
        _close(approval, now=now)
        _tell_author(approval, now=now)
        return approval


def withdraw(*, approval_id: int, user: User, now: datetime) -> Approval:
    """Take back what one asked for. Raises approvals.AlreadyDecided, approvals.NotYours."""
    with transaction.atomic():
        approval = approvals.withdraw(approval_id=approval_id, user=user, now=now)
        _close(approval, now=now)
        return approval


def finish(approval: Approval, *, now: datetime) -> None:
    """Do what an act that has been done leaves for after the commit. Must run outside a transaction."""
    after = POWERS[approval.act].finish
    if after is not None:
        after(approval, time_of(approval, now))


def _do(approval: Approval, *, now: datetime) -> Done:
    power = POWERS[approval.act]
    try:
        subject = power.subject(approval.payload)
        before = audit.snapshot(subject) if subject is not None else {}
        row = power.do(approval, time_of(approval, now))
    except contracts.TermsInvalid as error:
        raise CannotBeDone(str(error)) from error
    except tuple(REFUSALS) as error:
        raise CannotBeDone(_words(error)) from error
    return Done(approval, True, row, before)


def _try_out(approval: Approval, *, now: datetime) -> None:
    """Do an act and undo it. Raises CannotBeDone."""
    with transaction.atomic():
        _do(approval, now=now)
        transaction.set_rollback(True)


def _close(approval: Approval, *, now: datetime) -> None:
    """Undo what an act that will not be done has prepared."""
    close = POWERS[approval.act].close
    if close is not None:
        close(approval, now)


def _words(error: Exception) -> str:
    """What staff are told of a refusal; with how much would be possible, where the room says so."""
    if isinstance(error, transfers.TooMuch):
        return _("At most %(most)s is possible.") % {"most": money_text(error.left, error.currency)}
    return str(REFUSALS[type(error)])


def worth_text(worth: Worth | Approval) -> str:
    """What an act counts for, in words: `250.5 credits`, `99.00 EUR`, or both; nothing where no figure
    says it."""
    parts = []
    if worth.credits:
        parts.append(_("%(amount)s credits") % {"amount": exact_credits_text(worth.credits)})
    if worth.amount:
        parts.append(money_text(worth.amount, worth.currency))
    return ", ".join(parts)


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
            "act": str(POWERS[approval.act].label),
            "amount": worth_text(approval),
            "account_name": approval.account.name if approval.account else "",
            "reason": approval.reason,
            "requested_by": approval.requested_by.get_full_name(),
            "state": approval.state,
            "decided_by": decider.get_full_name() if decider else "",
            "note": approval.decision_note,
        },
        email=person.email,
        now=now,
    )
