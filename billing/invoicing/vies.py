"""Asking the EU's VAT register over its REST interface; nothing else talks to it."""

from dataclasses import dataclass
from typing import Any

import requests
from django.conf import settings


class NoAnswer(Exception):
    """The register, or that of the member state behind it, did not answer, or not in a way we understand."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the register says. `reference` proves the consultation, where we told who we are."""

    is_valid: bool
    name: str
    address: str
    reference: str


def ask(vat_id: str, *, requester: str = "") -> Answer:
    """Ask whether a VAT number is registered; `requester` is our own. Raises NoAnswer.

    Connecting and reading each take FLORIN_VIES_TIMEOUT_SECONDS at most.
    """
    question = {"countryCode": vat_id[:2], "vatNumber": vat_id[2:]}
    if requester:
        question |= {"requesterMemberStateCode": requester[:2], "requesterNumber": requester[2:]}
    try:
        response = requests.post(
            f"{settings.FLORIN_VIES_URL}/check-vat-number",
            json=question,
            timeout=settings.FLORIN_VIES_TIMEOUT_SECONDS,
            allow_redirects=False,
        )
        said: Any = response.json()
    except (requests.RequestException, ValueError) as error:
        raise NoAnswer(f"no answer: {type(error).__name__}") from error
    if not response.ok or not isinstance(said, dict) or not isinstance(said.get("valid"), bool):
        raise NoAnswer(_reason(said) or f"status {response.status_code}")
    if said["valid"] is False and said.get("userError", "INVALID") not in ("INVALID", "VALID", ""):
        # Unavailable member states are reported as invalid by some of its versions.
        raise NoAnswer(str(said["userError"]))
    return Answer(said["valid"], _text(said, "name"), _text(said, "address"), _text(said, "requestIdentifier"))


def _text(said: dict[str, Any], name: str) -> str:
    """A text of the answer; the register writes --- for what it does not tell."""
    value = str(said.get(name) or "").replace("\x00", "").strip()
    return "" if set(value) <= {"-"} else value


def _reason(said: object) -> str:
    """What an error answer calls itself, for example MS_UNAVAILABLE."""
    wrappers = said.get("errorWrappers") if isinstance(said, dict) else None
    if isinstance(wrappers, list) and wrappers and isinstance(wrappers[0], dict):
        return str(wrappers[0].get("error", ""))[:100]
    return ""
