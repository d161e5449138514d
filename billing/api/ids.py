"""Public ids: a prefix that says what it is, and the primary key (`grt_5`). Refused text never reaches the database."""

import re

ACCOUNT = "acc"
POOL = "pool"
GRANT = "grt"
POSTING = "pst"
HOLD = "hld"
API_KEY = "key"
MEMBER = "mem"
INVITATION = "inv"
INVOICE = "ivc"
PAYMENT = "pay"
PAYMENT_METHOD = "pm"
CARD_SETUP = "cst"
CREDIT_NOTE = "cn"
PURCHASE = "pur"
TOP_UP = "top"
SUBSCRIPTION = "sub"
CONTRACT_TERMS = "ctr"

MAX_PK = 2**63 - 1

# Without leading zeros, so that each row has one id only.
_NUMBER = re.compile(r"[1-9][0-9]{0,18}\Z", re.ASCII)


class InvalidId(ValueError):
    """Not an id of this kind."""


def encode(prefix: str, pk: int) -> str:
    """`encode("grt", 5)` is `grt_5`."""
    return f"{prefix}_{pk}"


def decode(prefix: str, text: str) -> int:
    """The primary key in an id of this kind; raises InvalidId for anything else."""
    head, _, number = text.rpartition("_")
    if head != prefix or not _NUMBER.match(number) or int(number) > MAX_PK:
        raise InvalidId(text)
    return int(number)
