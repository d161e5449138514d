"""Settings for tests: real PostgreSQL without durability, in-memory broker and mail, cheap passwords."""

import os

os.environ["FLORIN_ENV"] = "test"
# Tests must not depend on the secret or the folders of whoever runs them.
os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "0123456789abcdef" * 4)

from config.settings import *

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
EMBEDDED_BROKER = False
CELERY_BROKER_URL = "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS = {}
