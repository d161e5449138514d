"""Routes of the integrators' door, under /api/v1/. No address ends in a slash."""

from django.urls import path, re_path

from billing.api import accounts, docs

urlpatterns = [
    path("accounts", accounts.Accounts.as_view()),
    path("accounts/<str:account>", accounts.OneAccount.as_view()),
    path("problems", docs.Problems.as_view()),
    path("problems/<str:code>", docs.OneProblem.as_view()),
    path("schema", docs.Schema.as_view(), name="api-schema"),
    path("docs", docs.Reference.as_view(), name="api-docs"),
    # Also line breaks, which a plain dot would let through to a page of HTML.
    re_path(r"^[\s\S]*\Z", docs.Nothing.as_view()),
]
