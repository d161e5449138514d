"""Every address begins here: the API, the admin, the portal and the health check."""

from django.contrib import admin
from django.urls import include, path

from config.health import health

urlpatterns = [
    path("health", health, name="health"),
    path("api/v1/", include("billing.api.urls")),
    path("admin/", admin.site.urls),
    path("", include("portal.urls")),
]
