"""Where a bank transfer goes to: account numbers, and the QR code that banking apps read (EPC069-12)."""

from decimal import Decimal

import qrcode
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from qrcode.image.svg import SvgPathImage
from stdnum import bic as bic_numbers
from stdnum import iban as iban_numbers

# What the code may ask for; beyond it, and in other currencies than the euro, banks do not read it.
MOST = Decimal("999999999.99")
_NAME_LENGTH, _TEXT_LENGTH = 70, 140


def validate_iban(value: str) -> None:
    """Refuse what is no IBAN: its check digits and its country's form count."""
    if not iban_numbers.is_valid(value):
        raise ValidationError(_("This is no IBAN."), code="invalid_iban")


def validate_bic(value: str) -> None:
    """Refuse what is no BIC."""
    if not bic_numbers.is_valid(value):
        raise ValidationError(_("This is no BIC."), code="invalid_bic")


def spaced(iban: str) -> str:
    """An IBAN as people read it: DE89 3704 0044 0532 0130 00."""
    return iban_numbers.format(iban)


def qr_svg(*, name: str, iban: str, bic: str, amount: Decimal, currency: str, text: str) -> str | None:
    """The code as an SVG; None where no code can say it: another currency than the euro, nothing or too much to pay."""
    if currency != "EUR" or not 0 < amount <= MOST:
        return None
    lines = (
        "BCD", "002", "1", "SCT", bic_numbers.compact(bic), name[:_NAME_LENGTH], iban_numbers.compact(iban),
        f"EUR{amount:.2f}", "", "", text[:_TEXT_LENGTH],
    )  # fmt: skip
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M, border=0)
    code.add_data("\n".join(lines).encode())
    code.make(fit=True)
    return code.make_image(image_factory=SvgPathImage).to_string(encoding="unicode")
