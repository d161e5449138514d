"""The web process. Refuses to start on unsafe settings or an unsafe database, as every process does: with the reasons
and no traceback, and the server ends when the first of its processes does."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

from billing.checks import UnsafeDeployment, refuse_unsafe_deployment  # noqa: E402  (needs the apps that the line above loads)
from config.processes import end_with_parent  # noqa: E402

try:
    refuse_unsafe_deployment()
except UnsafeDeployment as error:
    raise SystemExit(str(error)) from None
end_with_parent()
