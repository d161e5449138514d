"""The secret key of a demo: random, kept in the state folder so that sessions outlive a restart; and what follows."""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path


def demo_secret_key(state_dir: Path) -> str:
    """The key in `state_dir/secret-key` (mode 0600), made on first use; two first users get the same one."""
    path = state_dir / "secret-key"
    try:
        return path.read_text()
    except FileNotFoundError:
        state_dir.mkdir(parents=True, exist_ok=True)
    mine = state_dir / f"secret-key.{os.getpid()}"
    descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(64))
    try:
        # A link is made whole or not at all, and only by the first.
        os.link(mine, path)
    except FileExistsError:
        pass
    finally:
        mine.unlink()
    return path.read_text()


def webhook_secret(secret_key: str) -> str:
    """What the sandbox gateway signs its webhooks with, as Standard Webhooks spells it; it follows from the key."""
    digest = hmac.new(secret_key.encode(), b"florin.sandbox-webhook", hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(digest).decode()}"
