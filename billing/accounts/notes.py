"""Notes that staff keep about an account, for each other."""

from datetime import datetime

from billing.accounts.models import AccountNote, User

MAX_LENGTH = 2000


def add(*, account_id: int, author: User, text: str, now: datetime) -> AccountNote:
    """Write a note down; nobody changes it afterwards. Raises ValueError for an empty or overlong text."""
    text = text.strip().replace("\0", "")
    if not 0 < len(text) <= MAX_LENGTH:
        raise ValueError(f"a note has 1 to {MAX_LENGTH} characters")
    return AccountNote.objects.create(account_id=account_id, author=author, text=text, noted_at=now)
