"""The web process. Refuses to start on unsafe settings or an unsafe database, as every process does."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

from billing.checks import refuse_unsafe_deployment  # noqa: E402  (needs the apps that the line above loads)
from config.processes import end_with_parent  # noqa: E402

refuse_unsafe_deployment()
end_with_parent()
