"""All settings, from environment variables. Without any, this is a demo on embedded servers.

FLORIN_ENV is `production`, `demo` or `test`; unset, it is production when DATABASE_URL is set, else demo.
Production refuses to start on unsafe settings: see billing/checks.py.
"""

import logging
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from kombu import Queue
from psycopg import IsolationLevel

from config import environment
from config.celery import BEAT_SCHEDULE
from config.embedded import ValkeyServer, places
from config.embedded.backend.base import embedded_database
from config.embedded.postgres import OWNER, RUNTIME
from config.logs import logging_settings
from config.secret import demo_secret_key, webhook_secret

BASE_DIR = places.ROOT
STATE_DIR = places.state_dir()

# --- Which installation this is --------------------------------------------------------------------------------------
_url = environment.database("DATABASE_URL")
FLORIN_ENV = environment.text("FLORIN_ENV", "production" if _url else "demo")
if FLORIN_ENV not in {"production", "demo", "test"}:
    raise ImproperlyConfigured(f"FLORIN_ENV must be production, demo or test, not {FLORIN_ENV!r}.")
PRODUCTION = FLORIN_ENV == "production"
if PRODUCTION:
    for _name, _why in {
        "SECRET_KEY": "sessions and links are signed with it",
        "ALLOWED_HOSTS": "requests for any other host are refused",
        "DATABASE_URL": "all data is there",
        "CELERY_BROKER_URL": "workers get their tasks through it",
        "EMAIL_URL": "without a mail server, links to sign up and to reset passwords would go to a folder",
        "FLORIN_PUBLIC_URL": "links in e-mails and a gateway's way back begin with it",
    }.items():
        if not environment.text(_name):
            raise ImproperlyConfigured(
                f"{_name} must be set in production (that is, when DATABASE_URL is set or FLORIN_ENV=production): "
                f"{_why}."
            )

DEBUG = environment.flag("DEBUG")
SECRET_KEY = environment.text("SECRET_KEY") or demo_secret_key(STATE_DIR)
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")

# --- Database --------------------------------------------------------------------------------------------------------
# Two roles: the owner migrates (DATABASE_OWNER_URL), everything else connects as the runtime role (DATABASE_URL).
# Tests make and drop databases and switch triggers off, so they connect as the owner.
if _url is not None:
    DATABASE_OWNER = environment.database("DATABASE_OWNER_URL")
    if FLORIN_ENV == "test" and DATABASE_OWNER:
        _url, DATABASE_OWNER = DATABASE_OWNER, None
    _database: dict[str, Any] = {"ENGINE": "config.database", **_url}
elif FLORIN_ENV == "test":
    _database = embedded_database("test", OWNER)
    DATABASE_OWNER = None
else:
    _database = embedded_database("demo", RUNTIME)
    DATABASE_OWNER = embedded_database("demo", OWNER)
DATABASE_RUNTIME_ROLE = environment.text("DATABASE_RUNTIME_ROLE", _database["USER"] if DATABASE_OWNER else RUNTIME)
_database["OPTIONS"] = {
    "application_name": "florin",
    "connect_timeout": 10,
    # The ledger's statements are prepared once per connection. Behind a pooler that cannot keep prepared statements
    # apart, say prepare_threshold=… in DATABASE_URL's query or use its session mode.
    "prepare_threshold": 5,
    **_database["OPTIONS"],
    "isolation_level": IsolationLevel.READ_COMMITTED,
}
DATABASES = {"default": {**_database, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Application -----------------------------------------------------------------------------------------------------
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
AUTH_USER_MODEL = "billing.User"
# E-mail addresses are unique whatever their case, by a constraint over lower(email) that this check does not know.
SILENCED_SYSTEM_CHECKS = ["auth.W004"]
INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "csp",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "billing.apps.BillingConfig",
    "portal",
]
MIDDLEWARE = [
    "config.access.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.middleware.permissions_policy",
    "config.guard.Guard",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.compression.Compression",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.middleware.staff_sessions",
    "config.middleware.staff_second_factor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# `default` is shared by all processes, for what must hold across them: throttling of the entrance, codes used once.
# `process` is each process's own, for what is asked at every request of the API.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "florin_cache",
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    },
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
# Figures get their separators by filters of ours (portal/templatetags/florin.py); ids, years and coordinates get none.
USE_THOUSAND_SEPARATOR = False
FORMAT_MODULE_PATH = "config.formats"

# --- Static files, uploads, mail -------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else None
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        # The manifest needs `collectstatic`, a step of a deployment that a demo does not have.
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
MEDIA_ROOT = STATE_DIR / "media"
globals().update(environment.email("EMAIL_URL", STATE_DIR / "mail"))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = environment.text("DEFAULT_FROM_EMAIL", "Florin <florin@localhost>")

# --- Browser security ------------------------------------------------------------------------------------------------
# FLORIN_HTTPS=false is for a network where nothing but plain HTTP exists; FLORIN_TRUST_PROXY=true believes the
# X-Forwarded-Proto and X-Forwarded-For of a proxy that always sets them.
HTTPS = environment.flag("FLORIN_HTTPS", default=PRODUCTION)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health(/web)?$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
_trust_proxy = environment.flag("FLORIN_TRUST_PROXY")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _trust_proxy else None
# The client is whom that proxy names last in X-Forwarded-For; without it every client has the proxy's address.
ALLAUTH_TRUSTED_PROXY_COUNT = int(_trust_proxy)
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# With this prefix browsers take a cookie only over HTTPS and from this very host, so that no neighbouring host can
# plant one (RFC 6265bis). Plain HTTP cannot have it.
COOKIE_PREFIX = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{COOKIE_PREFIX}sessionid", f"{COOKIE_PREFIX}csrftoken"
MESSAGE_STORAGE = "config.cookies.MessageStorage"
# Staff are signed out when they ask for nothing this long, and so long after they signed in whatever they do
# (the shorter pair of NIST SP 800-63B, AAL2). Customers stay signed in for two weeks.
FLORIN_STAFF_IDLE_MINUTES = environment.number("FLORIN_STAFF_IDLE_MINUTES", 30, minimum=2)
FLORIN_STAFF_SESSION_HOURS = environment.number("FLORIN_STAFF_SESSION_HOURS", 12, minimum=1)
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "manifest-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- The entrance: portal/entrance/urls.py says which of allauth's pages there are ------------------------------------
AUTHENTICATION_BACKENDS = ["billing.accounts.people.SessionBackend"]
ACCOUNT_ADAPTER = "portal.entrance.adapters.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS = 3
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_EMAIL_CONFIRMATION_ANONYMOUS_REDIRECT_URL = LOGIN_URL
ACCOUNT_EMAIL_NOTIFICATIONS = True
# To a stranger's address nothing is sent, not even that nobody here has it.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"  # noqa: S105
# By client address (ip), by the e-mail address typed (key, whether anybody has it or not), by person (user).
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/5m/key",
    "signup": "20/h/ip",
    "confirm_email": "1/3m/key",
    "reset_password": "20/h/ip,3/10m/key",
    "reset_password_from_key": "20/m/ip",
    "reauthenticate": "10/m/user",
    "change_password": "5/m/user",
    "manage_email": "10/h/user",
}
PASSWORD_RESET_TIMEOUT = 86_400
# Whether staff must set up a second factor before they can do anything else; where not, it is offered in the header.
FLORIN_STAFF_SECOND_FACTOR = environment.flag("FLORIN_STAFF_SECOND_FACTOR", default=PRODUCTION)
MFA_ADAPTER = "portal.entrance.adapters.TwoFactorAdapter"
MFA_TOTP_ISSUER = "Florin"
# Nobody gets this far without a verified address; this is about a second one that is still to be verified.
MFA_ALLOW_UNVERIFIED_EMAIL = True

# --- API -------------------------------------------------------------------------------------------------------------
# What a view of the API is, it says itself (billing/api/base.py); these defaults only keep a forgetful one shut.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "billing.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Florin",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "billing.api.schema.add_conventions",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Celery (what runs when: config/celery.py) -----------------------------------------------------------------------
_broker_url = environment.text("CELERY_BROKER_URL")
EMBEDDED_BROKER = not _broker_url
CELERY_BROKER_URL = _broker_url or ValkeyServer("demo").url()
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = (
    # A task of a killed worker comes back after the timeout; without the throttle kombu looks only every 100 s or so.
    {"visibility_timeout": 900, "unacked_restore_throttle": 1} if "redis" in CELERY_BROKER_URL.split(":")[0] else {}
)
CELERY_TASK_DEFAULT_QUEUE = "billing"
CELERY_TASK_QUEUES = [Queue("billing"), Queue("metering"), Queue("notifications")]
CELERY_TASK_ROUTES = {
    "billing.tasks.accrue_gauges": {"queue": "metering"},
    "billing.tasks.deliver_notifications": {"queue": "notifications"},
}
# A misspelt queue fails at once instead of collecting tasks that nobody reads.
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Shorter than the visibility timeout, so that no task is ever handed out twice while it runs.
CELERY_TASK_SOFT_TIME_LIMIT = 600
CELERY_TASK_TIME_LIMIT = 660
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = BEAT_SCHEDULE
# In memory: what is due lives in rows, so there is nothing to remember and no file to corrupt.
CELERY_BEAT_SCHEDULER = "config.presence:Scheduler"

# --- Logging ---------------------------------------------------------------------------------------------------------
# One line for each request; a proxy that writes such lines makes ours superfluous.
FLORIN_ACCESS_LOG = environment.flag("FLORIN_ACCESS_LOG", default=PRODUCTION)
logging.captureWarnings(PRODUCTION)
LOGGING = logging_settings(as_json=PRODUCTION, level=environment.text("LOG_LEVEL", "INFO").upper())

# --- Florin ----------------------------------------------------------------------------------------------------------
FLORIN_EVENT_MAX_AGE_DAYS = environment.number("FLORIN_EVENT_MAX_AGE_DAYS", 35)
FLORIN_EVENT_MAX_AHEAD_SECONDS = environment.number("FLORIN_EVENT_MAX_AHEAD_SECONDS", 300)
# Where `seal_ledger --export` appends the heads of the ledger's hash chain; copy them off this machine.
FLORIN_SEAL_EXPORT_DIR = Path(environment.text("FLORIN_SEAL_EXPORT_DIR", str(STATE_DIR / "seals")))
# A folder of fonts for documents, beyond those that come along: for Chinese or Japanese names, say. Empty: none.
FLORIN_FONTS = environment.text("FLORIN_FONTS")
# Where the reference rates of the European Central Bank are fetched from once a day, for invoices in other currencies
# than the issuer's books: its CSV, zipped or not. Empty: from nowhere (manage.py import_exchange_rates takes a file).
FLORIN_EXCHANGE_RATES_URL = environment.text("FLORIN_EXCHANGE_RATES_URL")
FLORIN_EXPIRY_GRACE_SECONDS = environment.number("FLORIN_EXPIRY_GRACE_SECONDS", 3600)
FLORIN_MAX_BODY_BYTES = environment.number("FLORIN_MAX_BODY_BYTES", 8 * 1024 * 1024, minimum=1)
FLORIN_MAX_BATCH = environment.number("FLORIN_MAX_BATCH", 10_000, minimum=1)
FLORIN_IDEMPOTENCY_LEASE_SECONDS = environment.number("FLORIN_IDEMPOTENCY_LEASE_SECONDS", 60, minimum=1)
FLORIN_IDEMPOTENCY_RETENTION_HOURS = environment.number("FLORIN_IDEMPOTENCY_RETENTION_HOURS", 48, minimum=1)
# Per API key, counted in Django's cache; 0 switches the limit off.
FLORIN_REQUESTS_PER_MINUTE = environment.number("FLORIN_REQUESTS_PER_MINUTE", 120_000)
# What one member of staff may grant, revoke, adjust or refund alone in a day; beyond, a second person must approve.
# The limit of money holds for each currency, in its main unit.
FLORIN_APPROVAL_CREDITS = environment.number("FLORIN_APPROVAL_CREDITS", 10_000)
FLORIN_APPROVAL_MONEY = environment.number("FLORIN_APPROVAL_MONEY", 500)
# Where people reach this installation: links in e-mails begin with it.
FLORIN_PUBLIC_URL = environment.text("FLORIN_PUBLIC_URL", "http://localhost:8000").rstrip("/")
# Whether anybody may sign up in the portal, or people come by invitation and accounts from the API and staff only.
FLORIN_SIGN_UP_OPEN = environment.flag("FLORIN_SIGN_UP_OPEN", default=True)
DATA_UPLOAD_MAX_MEMORY_SIZE = FLORIN_MAX_BODY_BYTES

# --- Tax -------------------------------------------------------------------------------------------------------------
# Who works out the tax of a sale: the rate table of this installation, or Stripe Tax.
FLORIN_TAX_ENGINE = environment.text("FLORIN_TAX_ENGINE", "table")
if FLORIN_TAX_ENGINE not in {"table", "stripe"}:
    raise ImproperlyConfigured(f"FLORIN_TAX_ENGINE must be table or stripe, not {FLORIN_TAX_ENGINE!r}.")
# Whether `migrate` gives a new installation the tax rates that come along.
FLORIN_STARTER_TAX_RATES = environment.flag("FLORIN_STARTER_TAX_RATES", default=FLORIN_ENV != "test")
# Stripe's tax codes for our categories of goods: "standard=txcd_10103001,books=txcd_35010000"; others have the default
# code of Stripe's tax settings.
FLORIN_STRIPE_TAX_CODES = environment.pairs("FLORIN_STRIPE_TAX_CODES")
# The EU's register of VAT numbers, https://ec.europa.eu/taxation_customs/vies/rest-api; empty: numbers are not checked.
FLORIN_VIES_URL = environment.text("FLORIN_VIES_URL").rstrip("/")
FLORIN_VIES_TIMEOUT_SECONDS = environment.number("FLORIN_VIES_TIMEOUT_SECONDS", 5, minimum=1)

# --- Payments --------------------------------------------------------------------------------------------------------
# When a renewal's credits are granted: once it is invoiced, or once that is paid. A first period's always wait.
FLORIN_ALLOCATE_ON = environment.text("FLORIN_ALLOCATE_ON", "invoice")
if FLORIN_ALLOCATE_ON not in {"invoice", "payment"}:
    raise ImproperlyConfigured(f"FLORIN_ALLOCATE_ON must be invoice or payment, not {FLORIN_ALLOCATE_ON!r}.")
# Who collects: by currency (`EUR=stripe,*=sandbox`), for all others FLORIN_GATEWAY, which `*` sets too; an account may
# have its own. The sandbox moves no money: production refuses it unless allowed.
FLORIN_GATEWAYS = environment.pairs("FLORIN_GATEWAYS")
FLORIN_GATEWAY = FLORIN_GATEWAYS.pop("*", "") or environment.text("FLORIN_GATEWAY", "" if PRODUCTION else "sandbox")
for _name in (FLORIN_GATEWAY, *FLORIN_GATEWAYS.values()):
    if _name not in {"", "sandbox", "stripe", "manual"}:
        raise ImproperlyConfigured(f"A gateway is sandbox, stripe, manual or empty, not {_name!r}.")
# From Stripe's dashboard. Several secrets, with commas between, while one is rolled over. The address is for tests.
FLORIN_STRIPE_SECRET_KEY = environment.text("FLORIN_STRIPE_SECRET_KEY")
FLORIN_STRIPE_WEBHOOK_SECRETS = environment.words("FLORIN_STRIPE_WEBHOOK_SECRET")
FLORIN_STRIPE_API_BASE = environment.text("FLORIN_STRIPE_API_BASE").rstrip("/")
FLORIN_STRIPE_TIMEOUT_SECONDS = environment.number("FLORIN_STRIPE_TIMEOUT_SECONDS", 20, minimum=1)
FLORIN_ALLOW_SANDBOX = environment.flag("FLORIN_ALLOW_SANDBOX", default=not PRODUCTION)
FLORIN_SANDBOX_WEBHOOK_SECRET = environment.text("FLORIN_SANDBOX_WEBHOOK_SECRET") or webhook_secret(SECRET_KEY)
