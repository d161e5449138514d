"""The real LLM usage trace that lies beside the project, and what it must cost; or a made-up one of the same shape."""

import random
from datetime import datetime, timedelta
from pathlib import Path

from billing.accounts.models import Account
from tests.factories import give_credits, make_account, make_meter
from tests.metering.makers import START, publish, rate

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "azure_llm_2023_code.csv"
ROWS = 8_819
CREDITS = "19043.558"
GRANTED = 20_000

# The command's options after the file.
OPTIONS = [
    "--account", "azure", "--time-column", "TIMESTAMP", "--time-zone", "UTC",
    "--meter", "context_tokens=ContextTokens", "--meter", "generated_tokens=GeneratedTokens",
]  # fmt: skip


def make_up(path: Path, *, rows: int) -> Path:
    """Write a trace of the real one's shape: CRLF, seven fractional digits, no offset, no end of the last line."""
    chance, at = random.Random(rows), datetime(2023, 11, 16, 18, 17)  # noqa: DTZ001
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for _ in range(rows):
        at += timedelta(milliseconds=chance.randrange(800))
        stamp = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond:06}0"
        lines.append(f"{stamp},{chance.randrange(1, 8000)},{chance.randrange(1, 900)}")
    path.write_bytes("\r\n".join(lines).encode())
    return path


def prepare() -> Account:
    """The account, its credits, and the two meters at 1 and 4 credits per 1,000 tokens."""
    account = make_account("azure", now=START)
    give_credits(account, GRANTED, now=START)
    context, generated = make_meter("context_tokens", now=START), make_meter("generated_tokens", now=START)
    publish(rate(context, "1", unit_size=1000), rate(generated, "4", unit_size=1000))
    return account
