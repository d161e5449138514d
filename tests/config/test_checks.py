"""Production refuses to start on what could lose or expose money; nothing else does."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.contrib import admin
from django.core.checks import run_checks
from django.db import connection
from psycopg import IsolationLevel

from billing import checks
from config import processes
from config.embedded import PostgresServer
from config.embedded.postgres import OWNER, RUNTIME
from tests.demo import free_port

# Fixed, so that parallel test processes name their tests alike.
GOOD_KEY = "IPGZByYF_UoF5TuMUUq63KSNCE8LnOhFcTrYrXCc0qFVS4gBmmEFXu8Mnl11_RRapEJYqbljqJAeACQt2V"


@pytest.fixture
def production(settings):
    """Safe production settings, for a test to spoil one of."""
    settings.PRODUCTION = True
    settings.SECRET_KEY = GOOD_KEY
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = ["billing.example.com"]
    settings.FLORIN_GATEWAY, settings.FLORIN_GATEWAYS, settings.FLORIN_ALLOW_SANDBOX = "", {}, False
    settings.FLORIN_PUBLIC_URL, settings.HTTPS = "https://billing.example.com", True
    return settings


@pytest.fixture(scope="module")
def durable() -> Iterator[PostgresServer]:
    """A server as an operator should run it."""
    with tempfile.TemporaryDirectory(prefix="fl-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer("benchmark", Path(folder))
        server.ensure()
        yield server
        server.release()


def ids(problems) -> list[str]:
    return sorted(problem.id for problem in problems)


def test_safe_settings_pass(production):
    assert checks.unsafe_settings() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SECRET_KEY", "short", "florin.E001"),
        ("SECRET_KEY", GOOD_KEY[:49], "florin.E001"),
        ("SECRET_KEY", "a" * 80, "florin.E001"),
        ("SECRET_KEY", "django-insecure-" + GOOD_KEY, "florin.E001"),
        ("SECRET_KEY", "change-me-" + GOOD_KEY, "florin.E001"),
        ("DEBUG", True, "florin.E002"),
        ("ALLOWED_HOSTS", [], "florin.E003"),
        ("ALLOWED_HOSTS", [" "], "florin.E003"),
        ("ALLOWED_HOSTS", ["billing.example.com", "*"], "florin.E003"),
        ("ALLOWED_HOSTS", ["*.example.com"], "florin.E003"),
        ("ALLOWED_HOSTS", [".com"], "florin.E003"),
        ("FLORIN_PUBLIC_URL", "billing.example.com", "florin.E015"),
        ("FLORIN_PUBLIC_URL", "https://localhost:8000", "florin.E015"),
        ("FLORIN_PUBLIC_URL", "http://billing.example.com", "florin.E015"),
    ],
)
def test_an_unsafe_setting_is_an_error_in_production_and_nowhere_else(production, name, value, expected):
    setattr(production, name, value)
    assert ids(checks.unsafe_settings()) == [expected]
    assert expected in ids(run_checks(tags=["security"]))
    production.PRODUCTION = False
    assert expected not in ids(run_checks(tags=["security"]))


def test_another_isolation_level_in_the_settings_is_an_error(production, monkeypatch):
    options = production.DATABASES["default"]["OPTIONS"]
    monkeypatch.setitem(options, "isolation_level", IsolationLevel.REPEATABLE_READ)
    assert ids(checks.unsafe_settings()) == ["florin.E007"]


@pytest.mark.django_db
def test_the_careless_test_server_is_refused_for_each_of_its_settings():
    problems = checks.unsafe_server(connection)
    assert ids(problems) == ["florin.E005"] * 3
    said = " ".join(problem.msg for problem in problems)
    assert all(name in said for name in ("fsync", "full_page_writes", "synchronous_commit"))


@pytest.mark.django_db
def test_an_old_postgresql_is_refused(monkeypatch):
    monkeypatch.setattr(checks, "POSTGRES_MIN_VERSION", 99)
    assert "florin.E006" in ids(checks.unsafe_server(connection))


@pytest.mark.django_db
def test_a_superuser_is_refused_as_runtime_role():
    assert ids(checks.unsafe_role(connection)) == ["florin.E008"]


def test_the_runtime_role_that_migrate_sets_up_is_accepted(runtime_role):
    assert checks.unsafe_role(connection) == []


def test_a_role_that_owns_an_append_only_table_is_refused(db):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE billing_posting OWNER TO {RUNTIME}")
        cursor.execute(f"SET ROLE {RUNTIME}")
    assert ids(checks.unsafe_role(connection)) == ["florin.E009"]


@pytest.mark.parametrize("privilege", ["UPDATE", "DELETE", "TRUNCATE"])
def test_a_role_that_may_rewrite_an_append_only_table_is_refused(db, privilege):
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT {privilege} ON billing_posting TO {RUNTIME}")
        cursor.execute(f"SET ROLE {RUNTIME}")
    problems = checks.unsafe_role(connection)
    assert ids(problems) == ["florin.E009"]
    assert "billing_posting" in problems[0].msg


@pytest.mark.django_db
def test_the_database_check_runs_for_the_named_database_in_production_only(production):
    assert "florin.E005" in ids(run_checks(tags=["database"], databases=["default"]))
    assert "florin.E005" not in ids(run_checks(tags=["database"], databases=[]))
    production.PRODUCTION = False
    assert "florin.E005" not in ids(run_checks(tags=["database"], databases=["default"]))


@pytest.mark.django_db
def test_refusal_lists_every_reason(production):
    production.DEBUG = True
    with pytest.raises(checks.UnsafeDeployment) as refusal:
        checks.refuse_unsafe_deployment()
    assert all(f"florin.{number}" in str(refusal.value) for number in ("E002", "E005", "E008"))


PRINT_COOKIES = """
from django.conf import settings
from config.cookies import MessageCookie
names = settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, MessageCookie.cookie_name
print(*names, settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE)
"""
WEB = [sys.executable, "-c", "import config.wsgi"]
WORKER = [sys.executable, "-m", "celery", "-A", "config", "worker", "--pool", "solo"]
BEAT = [sys.executable, "-m", "celery", "-A", "config", "beat"]


def start(command: list[str], url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a production process for at most 20 seconds."""
    return subprocess.run(
        command,
        env={
            "PATH": os.environ["PATH"],
            "DATABASE_URL": url,
            "CELERY_BROKER_URL": "memory://",
            "SECRET_KEY": GOOD_KEY,
            "ALLOWED_HOSTS": "billing.example.com",
            "EMAIL_URL": "smtp://mail.example.com",
            "FLORIN_PUBLIC_URL": "https://billing.example.com",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=20,
    )


@pytest.mark.parametrize("command", [WEB, WORKER, BEAT], ids=["web", "worker", "beat"])
def test_every_process_refuses_to_start(command, durable):
    result = start(command, durable.url(OWNER), DEBUG="true")
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert "Florin refuses to start" in said
    assert "florin.E002: DEBUG is on." in said
    assert "florin.E008: The runtime role florin_owner is a superuser." in said


HALF_STARTED = """
import os, time
try:
    os.mkdir({folder!r})
except FileExistsError:
    time.sleep(600)
time.sleep(0.5)
raise SystemExit("Florin refuses to start")
"""


def test_the_web_server_ends_when_one_of_its_processes_refuses_and_another_still_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "WEB_STOP_SECONDS", 1)
    (tmp_path / "half_started.py").write_text(HALF_STARTED.format(folder=str(tmp_path / "first")))
    command = processes.web_command(free_port(), "half_started:application")
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Florin refuses to start" in ended.stderr


def test_the_web_starts_on_a_durable_server_with_the_runtime_role_and_cookies_for_this_host_only(durable):
    result = start([sys.executable, "-c", f"import config.wsgi\n{PRINT_COOKIES}"], durable.url())
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["__Host-sessionid", "__Host-csrftoken", "__Host-messages", "True", "True"]


def test_the_web_refuses_a_server_whose_isolation_level_was_changed(durable):
    with psycopg.connect(durable.url(OWNER), autocommit=True) as owner:
        owner.execute(f"ALTER ROLE {RUNTIME} SET default_transaction_isolation = 'repeatable read'")
        try:
            assert "florin.E007" in start(WEB, durable.url()).stderr
        finally:
            owner.execute(f"ALTER ROLE {RUNTIME} RESET default_transaction_isolation")


@pytest.mark.parametrize("name", ["SECRET_KEY", "ALLOWED_HOSTS", "CELERY_BROKER_URL", "EMAIL_URL", "FLORIN_PUBLIC_URL"])
def test_production_names_a_variable_that_is_missing_and_what_it_is_for(name):
    # Reading the settings refuses, before anything is started or connected to.
    settings_alone = [sys.executable, "-c", "import config.settings"]
    result = start(settings_alone, "postgresql://nobody@127.0.0.1:9/none", **{name: ""})
    assert result.returncode != 0
    assert re.search(rf"{name} must be set in production .*: \w.*\.$", result.stderr.strip())


def test_a_gateway_of_play_money_is_refused_unless_it_is_allowed(production):
    production.FLORIN_GATEWAY = "sandbox"
    assert ids(checks.unsafe_settings()) == ["florin.E011"]
    production.FLORIN_ALLOW_SANDBOX = True
    assert checks.unsafe_settings() == []


def test_a_gateway_of_play_money_for_one_currency_is_refused_too(production):
    production.FLORIN_GATEWAYS = {"EUR": "sandbox"}
    assert ids(checks.unsafe_settings()) == ["florin.E011"]


def test_stripe_needs_its_key_its_webhooks_secret_and_encryption(production):
    production.FLORIN_GATEWAYS = {"EUR": "stripe"}
    assert ids(checks.unsafe_settings()) == ["florin.E012"]
    production.FLORIN_STRIPE_SECRET_KEY = "sk_live_1"
    assert ids(checks.unsafe_settings()) == ["florin.E013"]
    production.FLORIN_STRIPE_WEBHOOK_SECRETS = ["whsec_1"]
    assert checks.unsafe_settings() == []
    production.FLORIN_STRIPE_API_BASE = "http://localhost:8420"
    assert ids(checks.unsafe_settings()) == ["florin.E014"]


def test_stripe_tax_needs_a_key_and_no_webhooks(production):
    production.FLORIN_TAX_ENGINE = "stripe"
    assert ids(checks.unsafe_settings()) == ["florin.E012"]
    production.FLORIN_STRIPE_SECRET_KEY = "sk_live_1"
    assert checks.unsafe_settings() == []


def test_the_admin_passes_djangos_own_checks():
    # Its pages are registered with the addresses, which a check may not have read yet.
    import_module(settings.ROOT_URLCONF)
    assert len(admin.site._registry) > 40
    assert run_checks(tags=["admin"]) == []
