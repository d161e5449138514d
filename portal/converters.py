"""Public ids in addresses: `<invoice_id:invoice>` gives the view a primary key, and `reverse` takes one."""

from django.urls import register_converter

from billing.accounts import ids

KINDS = {
    "api_key_id": ids.API_KEY,
    "credit_note_id": ids.CREDIT_NOTE,
    "invitation_id": ids.INVITATION,
    "invoice_id": ids.INVOICE,
    "member_id": ids.MEMBER,
    "notification_id": ids.NOTIFICATION,
    "payment_method_id": ids.PAYMENT_METHOD,
}


def register() -> None:
    """Let routes name the kinds."""
    for name, prefix in KINDS.items():
        register_converter(_converter(prefix), name)


def _converter(prefix: str) -> type:
    class Converter:
        regex = f"{prefix}_{ids.PATTERN}"

        def to_python(self, value: str) -> int:
            return ids.decode(prefix, value)

        def to_url(self, value: object) -> str:
            return ids.encode(prefix, int(str(value)))

    return Converter
