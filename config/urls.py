"""Every address begins here: the API, the admin, the portal and the health check."""

from django.contrib import admin
from django.urls import include, path

from config.health import health

# Problem documents under /api/, Django's pages elsewhere.
handler400 = "billing.api.errors.handler400"
handler403 = "billing.api.errors.handler403"
handler404 = "billing.api.errors.handler404"
handler500 = "billing.api.errors.handler500"

urlpatterns = [
    path("health", health, name="health"),
    path("api/v1/", include("billing.api.urls")),
    path("admin/", admin.site.urls),
    path("", include("portal.urls")),
]
