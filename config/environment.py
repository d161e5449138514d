"""Read settings from environment variables; every error names the variable and what it should look like."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    """The variable with outer blanks removed, or the default when unset or empty."""
    return os.environ.get(name, "").strip() or default


def flag(name: str, default: bool = False) -> bool:
    """true/false, yes/no, on/off or 1/0."""
    value = text(name).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")


def number(name: str, default: int, minimum: int = 0) -> int:
    """A whole number of at least `minimum`."""
    value = text(name, str(default))
    if not (value.isascii() and value.isdigit()) or int(value) < minimum:
        raise ImproperlyConfigured(f"{name} must be a whole number of at least {minimum}, not {value!r}.")
    return int(value)


def words(name: str, default: list[str] | None = None) -> list[str]:
    """A comma-separated list."""
    value = text(name)
    return [word.strip() for word in value.split(",") if word.strip()] if value else (default or [])


def pairs(name: str) -> dict[str, str]:
    """A comma-separated list of `key=value`."""
    found = {}
    for word in words(name):
        key, sign, value = word.partition("=")
        if not (key.strip() and sign and value.strip()):
            raise ImproperlyConfigured(f"{name} must look like EUR=one,*=other, not {word!r}.")
        found[key.strip()] = value.strip()
    return found


def database(name: str) -> dict[str, Any] | None:
    """A PostgreSQL address as Django's settings, or None when unset.

    postgresql://user:password@host:port/database?sslmode=require; user, password and database percent-encoded; for a
    unix socket postgresql://user@/database?host=/folder. Other query parameters go to libpq as they are.
    """
    if not (value := text(name)):
        return None
    wanted = f"{name} must look like postgresql://user:password@host:5432/database"
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError as error:
        raise ImproperlyConfigured(f"{wanted}: {error}.") from error
    if url.scheme not in {"postgres", "postgresql"}:
        # The address itself may hold a password and must not be shown.
        raise ImproperlyConfigured(f"{wanted}, not start with {url.scheme or 'nothing'!r}.")
    if not (database_name := unquote(url.path.lstrip("/"))):
        raise ImproperlyConfigured(f"{wanted}: the database's name is missing.")
    options: dict[str, Any] = dict(parse_qsl(url.query, keep_blank_values=True))
    return {
        "NAME": database_name,
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": options.pop("host", unquote(url.hostname or "")),
        "PORT": options.pop("port", str(port or "")),
        "OPTIONS": options,
    }


def email(name: str, mail_dir: Path) -> dict[str, Any]:
    """Django's EMAIL_ settings from smtp://user:password@host:port or smtps://...; unset: files in `mail_dir`."""
    if not (value := text(name)):
        backend = "django.core.mail.backends.filebased.EmailBackend"
        return {"EMAIL_BACKEND": backend, "EMAIL_FILE_PATH": str(mail_dir)}
    url = urlsplit(value)
    if url.scheme not in {"smtp", "smtps", "smtp+tls"} or not url.hostname:
        raise ImproperlyConfigured(f"{name} must look like smtp+tls://user:password@host:587, smtps:// or smtp://.")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": url.hostname,
        "EMAIL_PORT": url.port or {"smtp": 25, "smtps": 465, "smtp+tls": 587}[url.scheme],
        "EMAIL_HOST_USER": unquote(url.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(url.password or ""),
        "EMAIL_USE_TLS": url.scheme == "smtp+tls",
        "EMAIL_USE_SSL": url.scheme == "smtps",
        "EMAIL_TIMEOUT": 10,
    }
