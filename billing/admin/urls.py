"""Addresses of the staff pages that belong to no table; they stand before those of `admin.site`."""

from django.contrib import admin
from django.urls import path

from billing.admin import pages
from billing.admin.finance import finance_report

app_name = "staff"

urlpatterns = [
    path("work/", admin.site.admin_view(pages.work), name="work"),
    path("figures/", admin.site.admin_view(pages.business), name="figures"),
    path("finance/", admin.site.admin_view(finance_report.finance), name="finance"),
    path("finance/<slug:part>.csv", admin.site.admin_view(finance_report.finance_csv), name="finance_csv"),
    path("figures.csv", admin.site.admin_view(pages.business_csv), name="figures_csv"),
]
