"""Production refuses to start on settings or a database that could lose or expose money.

Promises
- In production every problem below is an error: of `check` (the database's with `--database default`), and of every
  web, worker and beat process, which ends before it serves anything.
- Outside production (the demo, tests) nothing here complains.

Settings are judged without I/O; the database is judged by asking it, in the session as Florin uses it.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import IsolationLevel

# Usage and ledger rows, credit notes, what staff did and noted, what became of
# subscriptions are facts. The runtime role may SELECT and INSERT here,
# and nothing else; triggers refuse UPDATE, DELETE and TRUNCATE to everybody.
APPEND_ONLY_TABLES = (
    "billing_posting",
    "billing_ledgerentry",
    "billing_usageevent",
    "billing_eventreversal",
    "billing_ledgerseal",
    "billing_sealedrange",
    "billing_creditnote",
    "billing_creditnoteline",
    "billing_staffact",
    "billing_accountnote",
    "billing_subscriptionchange",
)

SECRET_KEY_MIN_LENGTH = 50
SECRET_KEY_MIN_CHARACTERS = 10
PLACEHOLDERS = ("django-insecure", "change", "secret", "example", "only-for-tests", "your-", "insert", "replace")
POSTGRES_MIN_VERSION = 15
ISOLATION_LEVEL = "read committed"


class UnsafeDeployment(Exception):
    """This process must not start; the message lists every reason."""


class WrongIsolationLevel(OperationalError):
    """The database's default isolation level is another than Florin is made for: no connection is opened."""


def refuse_isolation_level(default: str) -> None:
    """In production raise WrongIsolationLevel for a database whose default level is another one. Called as each
    connection is opened, so that no process, command or job gets round it."""
    if settings.PRODUCTION and default != ISOLATION_LEVEL:
        raise WrongIsolationLevel(
            f"The database's default isolation level is {default}, not {ISOLATION_LEVEL}. Take it back with ALTER "
            "DATABASE … RESET default_transaction_isolation, or ALTER ROLE …, whichever has set it."
        )


def refuse_unsafe_deployment() -> None:
    """Return when it is safe to serve. Raises UnsafeDeployment otherwise; asks the database only in production."""
    if not settings.PRODUCTION:
        return
    problems: list[CheckMessage] = [*unsafe_settings()]
    try:
        problems += unsafe_database(connections["default"])
    except DatabaseError as error:
        problems.append(Error(f"The database could not be asked whether it is safe: {error}", id="florin.E010"))
    finally:
        connections["default"].close()
    if problems:
        reasons = "\n".join(f"  {problem.id}: {problem.msg} {problem.hint or ''}".rstrip() for problem in problems)
        raise UnsafeDeployment(f"Florin refuses to start:\n{reasons}")


@register(Tags.security)
def check_settings(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """Run by every management command that checks the system."""
    return unsafe_settings() if settings.PRODUCTION else []


@register(Tags.database)
def check_databases(app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any) -> Sequence[CheckMessage]:
    """Run by `check --database default`."""
    if not settings.PRODUCTION or "default" not in (databases or ()):
        return []
    return unsafe_database(connections["default"])


def unsafe_settings() -> list[Error]:
    """What is wrong with the settings: secret key, debug mode, hosts, isolation level, a gateway of play money."""
    problems = []
    if reason := weak_secret_key(settings.SECRET_KEY):
        hint = 'Generate one: python3 -c "import secrets; print(secrets.token_urlsafe(64))"'
        problems.append(Error(f"SECRET_KEY {reason}.", hint=hint, id="florin.E001"))
    if settings.DEBUG:
        problems.append(Error("DEBUG is on.", hint="It shows secrets and source to visitors.", id="florin.E002"))
    hosts = [host.strip() for host in settings.ALLOWED_HOSTS]
    if not any(hosts):
        problems.append(Error("ALLOWED_HOSTS is empty.", hint="Name the hosts you serve.", id="florin.E003"))
    if any(is_wildcard(host) for host in hosts):
        problems.append(Error("ALLOWED_HOSTS has a wildcard.", hint="Name the hosts you serve.", id="florin.E003"))
    level = settings.DATABASES["default"].get("OPTIONS", {}).get("isolation_level")
    if level != IsolationLevel.READ_COMMITTED:
        problems.append(Error(f"The isolation level is {level}, not READ COMMITTED.", id="florin.E007"))
    return problems + unsafe_address() + unsafe_gateways()


def unsafe_address() -> list[Error]:
    """What is wrong with the address that e-mails lead people to."""
    address = urlsplit(settings.FLORIN_PUBLIC_URL)
    hint = "It is where people reach this installation, such as https://billing.example.com."
    if address.scheme not in ("http", "https") or not address.hostname:
        message = "FLORIN_PUBLIC_URL is no address."
    elif address.hostname in ("localhost", "127.0.0.1", "::1"):
        message = "FLORIN_PUBLIC_URL leads to this machine only."
    elif settings.HTTPS and address.scheme != "https":
        message = "FLORIN_PUBLIC_URL does not begin with https://."
    else:
        return []
    return [Error(message, hint=hint, id="florin.E015")]


def unsafe_gateways() -> list[Error]:
    """What is wrong with who collects payments, and with Stripe, which may work out taxes as well."""
    problems = []
    named = {settings.FLORIN_GATEWAY, *settings.FLORIN_GATEWAYS.values()}
    if "sandbox" in named and not settings.FLORIN_ALLOW_SANDBOX:
        hint = "It takes test cards and moves no money. FLORIN_ALLOW_SANDBOX=true is for an installation to try out."
        problems.append(Error("The sandbox gateway is configured.", hint=hint, id="florin.E011"))
    if ("stripe" in named or settings.FLORIN_TAX_ENGINE == "stripe") and not settings.FLORIN_STRIPE_SECRET_KEY:
        hint = "Set FLORIN_STRIPE_SECRET_KEY to the secret key of Stripe's dashboard."
        problems.append(Error("Stripe is to be used and has no key.", hint=hint, id="florin.E012"))
    if "stripe" in named and settings.FLORIN_STRIPE_SECRET_KEY and not settings.FLORIN_STRIPE_WEBHOOK_SECRETS:
        hint = "Without FLORIN_STRIPE_WEBHOOK_SECRET nothing that Stripe reports is believed."
        problems.append(Error("Stripe's webhooks cannot be checked.", hint=hint, id="florin.E013"))
    if settings.FLORIN_STRIPE_API_BASE and not settings.FLORIN_STRIPE_API_BASE.startswith("https://"):
        hint = "FLORIN_STRIPE_API_BASE is for tests; leave it empty."
        problems.append(Error("Stripe would be spoken to without encryption.", hint=hint, id="florin.E014"))
    return problems


def weak_secret_key(key: str) -> str | None:
    """Why the key is unsafe, as the end of a sentence; None when it is fine."""
    if len(key) < SECRET_KEY_MIN_LENGTH:
        return f"is shorter than {SECRET_KEY_MIN_LENGTH} characters"
    if len(set(key)) < SECRET_KEY_MIN_CHARACTERS:
        return f"has fewer than {SECRET_KEY_MIN_CHARACTERS} different characters"
    # A random key may contain such a word somewhere by chance, but hardly begins with one.
    if key.lower().startswith(PLACEHOLDERS):
        return "looks like a placeholder"
    return None


def is_wildcard(host: str) -> bool:
    """Whether the entry of ALLOWED_HOSTS lets in every host, or every host of a top-level domain."""
    return "*" in host or (host.startswith(".") and "." not in host[1:])


def unsafe_database(connection: BaseDatabaseWrapper) -> list[Error]:
    """What is wrong with the server, and with the role that Florin connects as."""
    try:
        connection.ensure_connection()
    except WrongIsolationLevel as error:
        return [Error(str(error), id="florin.E007")]
    return [*unsafe_server(connection), *unsafe_role(connection)]


def unsafe_server(connection: BaseDatabaseWrapper) -> list[Error]:
    """What is wrong with the server's settings, as they hold in a session of ours."""
    problems = []
    names = ("fsync", "full_page_writes", "synchronous_commit", "server_version_num")
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
        found = dict(zip(names, cursor.fetchone(), strict=True))
    lost = "A crash of the machine could lose or corrupt what Florin has confirmed."
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if found[name] == "off":
            problems.append(Error(f"PostgreSQL runs with {name} off.", hint=lost, id="florin.E005"))
    if (version := int(found["server_version_num"]) // 10_000) < POSTGRES_MIN_VERSION:
        problems.append(
            Error(f"PostgreSQL {version} is too old: {POSTGRES_MIN_VERSION} or newer is needed.", id="florin.E006")
        )
    return problems


def unsafe_role(connection: BaseDatabaseWrapper) -> list[Error]:
    """What the role could do to the append-only tables: as a superuser or owner, or through privileges."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")
        role, is_superuser = cursor.fetchone()
        cursor.execute(
            "SELECT c.relname, pg_has_role(c.relowner, 'USAGE'),"
            " has_table_privilege(c.oid, 'UPDATE') OR has_table_privilege(c.oid, 'DELETE')"
            " OR has_table_privilege(c.oid, 'TRUNCATE')"
            " FROM pg_class c WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)",
            [list(APPEND_ONLY_TABLES)],
        )
        tables = cursor.fetchall()
    hint = "Let DATABASE_URL name a role of its own, and give the owner's address to `migrate` as DATABASE_OWNER_URL."
    if is_superuser:
        return [Error(f"The runtime role {role} is a superuser.", hint=hint, id="florin.E008")]
    problems = []
    if owned := sorted(name for name, owns, _ in tables if owns):
        problems.append(Error(f"The runtime role {role} owns {', '.join(owned)}.", hint=hint, id="florin.E009"))
    if open_to := sorted(name for name, owns, may_change in tables if may_change and not owns):
        message = f"The runtime role {role} may change rows of {', '.join(open_to)}."
        problems.append(Error(message, hint="Run `migrate`, which sets the privileges.", id="florin.E009"))
    return problems
