"""Public ids: a prefix that says what it is, and the primary key in 13 digits of base 32 (`ivc_0o5k2v8q1m3c7`).

A primary key is no counter: the database makes it of the microsecond of its insertion and 12 bits that look random
(billing/migrations/_ids.py). So a public id says when a row was made and never how many there are, ids of a kind sort
by age, and whatever else shows a key (an address of a page, a reference, a Message-ID) gives away no more.
Text that is no id never reaches the database.
"""

import re
from functools import lru_cache

from django.db.models import Model

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
PLAN_VERSION = "plv"
SUBSCRIPTION = "sub"
CONTRACT_TERMS = "ctr"
NOTIFICATION = "ntf"

# The kind of a table's rows, by the model's name.
KINDS = {
    "account": ACCOUNT,
    "creditpool": POOL,
    "creditgrant": GRANT,
    "posting": POSTING,
    "hold": HOLD,
    "apikey": API_KEY,
    "member": MEMBER,
    "invitation": INVITATION,
    "invoice": INVOICE,
    "payment": PAYMENT,
    "paymentmethod": PAYMENT_METHOD,
    "cardsetup": CARD_SETUP,
    "creditnote": CREDIT_NOTE,
    "purchase": PURCHASE,
    "topup": TOP_UP,
    "planversion": PLAN_VERSION,
    "subscription": SUBSCRIPTION,
    "contractterms": CONTRACT_TERMS,
    "notification": NOTIFICATION,
}

MAX_PK = 2**63 - 1

# As int() reads base 32: the digits of base32hex (RFC 4648), which sort like the numbers.
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_SHIFTS = range(60, -1, -5)
# Of one length, so that each row has one id only, and at most MAX_PK.
PATTERN = "[0-7][0-9a-v]{12}"
_KEY = re.compile(rf"{PATTERN}\Z", re.ASCII)


class InvalidId(ValueError):
    """Not an id of this kind."""


# The events of a batch share a few postings, and a key's every request asks for its account.
@lru_cache(maxsize=4096)
def encode(prefix: str, pk: int) -> str:
    """`encode("ivc", 5)` is `ivc_0000000000005`."""
    return f"{prefix}_{''.join([_DIGITS[pk >> shift & 31] for shift in _SHIFTS])}"


def of(row: Model) -> str:
    """The public id of a row; its plain primary key where its kind has none."""
    kind = KINDS.get(str(row._meta.model_name))
    return encode(kind, row.pk) if kind else str(row.pk)


def decode(prefix: str, text: str) -> int:
    """The primary key in an id of this kind; raises InvalidId for anything else."""
    found = find(prefix, text)
    if found is None:
        raise InvalidId(text)
    return found


def find(prefix: str, text: str) -> int | None:
    """The primary key in an id of this kind, or None for anything else, such as an integrator's own id."""
    head, _, digits = text.rpartition("_")
    return int(digits, 32) if head == prefix and _KEY.match(digits) else None
