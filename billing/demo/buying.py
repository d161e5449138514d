"""How Lumen AI's customers pay: cards, packs, automatic top-up, a refund, and what does not go well.

A story is one transaction, in which no gateway may be called. So what the sandbox would have answered is written to its
memory at once, and recorded as any answer is: afterwards sandbox and payments agree, as if they had spoken.
"""

import hashlib
import uuid
from datetime import datetime, timedelta
from decimal import Decimal

from billing.accounts.models import Account
from billing.demo.catalog import PACK_PRICES
from billing.invoicing.models import InvoiceLine
from billing.ledger import pools
from billing.payments import failures, paying, refunding
from billing.payments.gateways import sandbox_cards
from billing.payments.gateways.contract import Outcome
from billing.payments.gateways.sandbox import ACTION_LASTS, BANK_PATH
from billing.payments.models import Payment, PaymentMethod
from billing.payments.sandbox_models import SandboxCard, SandboxCharge, SandboxRefund
from billing.purchases import checkout, offers, refunds, topups
from billing.purchases.models import Purchase, TopUpRule

WORKS = "4242424242424242"
DECLINED = "4000000000000002"
NO_FUNDS = "4000000000009995"
ASKS_BACK = "4000002760003184"

# Names that come out the same for the same story.
_NAMES = uuid.UUID("5b1f4a52-86a1-4a4e-9b8a-0a5b6f0f4c11")


def add_card(account: Account, number: str, *, is_default: bool, now: datetime) -> PaymentMethod:
    """A test card of the account, known to the sandbox."""
    card = sandbox_cards.find_card(number)
    assert card is not None  # noqa: S101
    kept = SandboxCard.objects.create(
        reference=_name("card", f"{account.external_id}:{number}"), behaviour=card.behaviour, created_at=now
    )
    if is_default:
        account.payment_methods.filter(is_default=True).update(is_default=False)
    return PaymentMethod.objects.create(
        account=account, gateway="sandbox", gateway_reference=kept.reference, brand=card.brand, last4=number[-4:],
        exp_month=11, exp_year=now.year + 3, is_default=is_default, created_at=now,
    )  # fmt: skip


def buy(
    account: Account, credits: Decimal, *, buyer_id: int | None, now: datetime, number: str = "", pack: str = "Credits"
) -> Purchase:
    """Credits of a pack for the main pool, charged to the default card, or to a new one of this number."""
    offer = next(offer for offer in offers.list_offers(account=account) if offer.name == pack)
    if number:
        card = add_card(account, number, is_default=False, now=now)
    else:
        card = account.payment_methods.get(is_default=True)
    token = uuid.uuid5(_NAMES, f"{account.external_id}:{account.purchases.count()}")
    purchase = checkout.place(
        token=token, account_id=account.pk, pack_id=offer.pack_id, pool_id=pools.get_main_pool(account.pk).pk,
        credits=credits, method_id=card.pk, buyer_id=buyer_id, now=now,
    )  # fmt: skip
    answer(purchase.invoice.payments.get(), now=now)
    return purchase


def answer(payment: Payment, *, now: datetime) -> Payment:
    """What the sandbox answers to a payment, in its memory and in ours."""
    assert payment.method is not None  # noqa: S101
    card = SandboxCard.objects.get(reference=payment.method.gateway_reference)
    script = sandbox_cards.script_of(card.behaviour, off_session=payment.off_session)
    needs_action = script.state == "requires_action"
    charge = SandboxCharge.objects.create(
        idempotency_key=payment.idempotency_key,
        reference=_name("ch", payment.idempotency_key),
        card=card,
        amount=payment.amount,
        currency=payment.currency,
        description=str(payment.invoice),
        state=script.state,
        failure_code=script.failure_code,
        created_at=now,
        settles_at=now,
        answers_at=now,
        action_until=now + ACTION_LASTS if needs_action else None,
    )
    outcome = Outcome(
        state=script.state,  # type: ignore[arg-type]
        reference=charge.reference,
        failure_code=script.failure_code,
        failure_message=failures.text(script.failure_code) if script.failure_code else "",
        action_url=f"{BANK_PATH}{charge.reference}" if needs_action else "",
    )
    return paying.record(payment_id=payment.pk, outcome=outcome, now=now)


def save_rule(
    account: Account, *, threshold: int, credits: int, number: str, max_count: int, now: datetime
) -> TopUpRule:
    """Let the account's main pool top itself up, from a card of this number; the money's cap leaves some room."""
    offer = next(offer for offer in offers.list_offers(account=account) if offer.name == "Credits")
    card = account.payment_methods.filter(last4=number[-4:]).first()
    card = card or add_card(account, number, is_default=False, now=now)
    dearest = Decimal(PACK_PRICES[account.currency][0])
    return topups.save_rule(
        account=account, pool_id=pools.get_main_pool(account.pk).pk, threshold=Decimal(threshold),
        pack_id=offer.pack_id, credits=Decimal(credits), method_id=card.pk, max_count=max_count,
        max_money=(dearest * credits * max_count * Decimal("1.5")).quantize(Decimal(1)), now=now,
    )  # fmt: skip


def top_up(rule_id: int, *, now: datetime) -> None:
    """What the job does for one rule."""
    opened = topups.open_top_up(rule_id=rule_id, now=now)
    if opened is not None:
        answer(opened.invoice.payments.get(), now=now)
        topups.follow_up(top_up_id=opened.pk, now=now)


def refund_last(account: Account, credits: Decimal, *, reason: str, actor: str, now: datetime) -> None:
    """Take back credits of the account's last purchase, as far as it is left; the sandbox gives the money back."""
    line = InvoiceLine.objects.filter(invoice__account=account, invoice__state="paid", pack__isnull=False).latest("pk")
    try:
        plan = refunds.preview(line_id=line.pk, now=now)
    except refunds.NothingToRefund:
        return
    note = refunds.start(
        line_id=line.pk, credits=min(credits, plan.refundable), reason=reason, actor=actor, reference="demo", now=now
    )
    refund = note.refund
    charge = SandboxCharge.objects.get(reference=refund.payment.gateway_reference)
    charge.refunded += refund.amount
    charge.save(update_fields=["refunded"])
    given = SandboxRefund.objects.create(
        idempotency_key=refund.idempotency_key, reference=_name("re", refund.idempotency_key), charge=charge,
        amount=refund.amount, state="succeeded", created_at=now, answers_at=now,
    )  # fmt: skip
    refunding.record(refund_id=refund.pk, attempt=1, outcome=Outcome("succeeded", given.reference), now=now)


def decline_again_and_again(rule_id: int, *, since: datetime) -> None:
    """The four tries of a rule whose card has no funds, until it switches itself off."""
    for hours in (0, 1, 7, 31):
        top_up(rule_id, now=since + timedelta(hours=hours))


def _name(kind: str, what: str) -> str:
    return f"sbx_{kind}_{hashlib.sha256(what.encode()).hexdigest()[:24]}"
