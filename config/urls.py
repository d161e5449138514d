"""Every address begins here: the API, the admin, the portal and the health check."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from config.health import health, web_health
from portal.entrance.views_entrance import staff_login

# Here and not with the apps: workers and commands have no pages, and start sooner without them.
admin.autodiscover()

# Problem documents under /api/, Django's pages elsewhere.
handler400 = "billing.api.errors.handler400"
handler403 = "billing.api.errors.handler403"
handler404 = "billing.api.errors.handler404"
handler500 = "billing.api.errors.handler500"

urlpatterns = [
    path("health", health, name="health"),
    path("health/web", web_health, name="web_health"),
    path("api/v1/", include("billing.api.urls")),
    # Staff come in by the one door, which throttles and asks for the second factor, and change their password there.
    path("admin/login/", staff_login),
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("admin/", include("billing.admin.urls")),
    path("admin/", admin.site.urls),
    path("", include("portal.entrance.urls")),
    path("", include("portal.urls")),
]
