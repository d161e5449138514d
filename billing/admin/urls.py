"""Addresses of the staff pages that belong to no table; they stand before those of `admin.site`."""

from django.contrib import admin
from django.urls import path

from billing.admin import pages

app_name = "staff"

urlpatterns = [
    path("work/", admin.site.admin_view(pages.work), name="work"),
    path("figures/", admin.site.admin_view(pages.business), name="figures"),
    path("figures.csv", admin.site.admin_view(pages.business_csv), name="figures_csv"),
]
