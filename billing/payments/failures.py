"""Why a payment failed, in words for the customer. Codes are the same whatever the gateway."""

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

HARD = frozenset({"expired_card", "card_unusable", "amount_not_chargeable"})
# What says nothing about the card.
NOT_THE_CARD = frozenset({"amount_not_chargeable", "not_received"})

_TEXTS: dict[str, Promise] = {
    "card_declined": _("The card was declined. Ask your bank, or use another card."),
    "insufficient_funds": _("The card has insufficient funds."),
    "expired_card": _("The card has expired. Use another card."),
    "card_unusable": _("The bank does not let this card be used any more, or not for this. Use another card."),
    "amount_not_chargeable": _("This amount cannot be charged to a card. Pay by transfer, or ask us."),
    "authentication_required": _("The bank wants you to confirm the payment, and you were not there to do so."),
    "authentication_failed": _("The payment was not confirmed."),
    "authentication_expired": _("The payment was not confirmed in time."),
    "not_received": _("The payment did not reach the payment provider. Nothing was charged."),
}


def text(code: str) -> str:
    """What to tell the customer, in their language."""
    return str(_TEXTS[code]) if code in _TEXTS else gettext("The payment failed. Use another card, or try again later.")
