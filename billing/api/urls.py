"""Routes of the integrators' door, under /api/v1/. No address ends in a slash."""

from django.urls import path, re_path

from billing.api import (
    accounts,
    api_keys,
    balances,
    catalog,
    charges,
    docs,
    entries,
    events,
    grants,
    holds,
    members,
    pools,
)

urlpatterns = [
    path("accounts", accounts.Accounts.as_view()),
    path("accounts/<str:account>", accounts.OneAccount.as_view()),
    path("accounts/<str:account>/balance", balances.AccountBalance.as_view()),
    path("accounts/<str:account>/pools", pools.AccountPools.as_view()),
    path("accounts/<str:account>/pools/<str:pool>", pools.OnePool.as_view()),
    path("accounts/<str:account>/grants", grants.AccountGrants.as_view()),
    path("accounts/<str:account>/entries", entries.AccountEntries.as_view()),
    path("accounts/<str:account>/members", members.Members.as_view()),
    path("accounts/<str:account>/members/<str:member>", members.OneMember.as_view()),
    path("api-keys/me", api_keys.OwnKey.as_view()),
    path("meters", catalog.Meters.as_view()),
    path("rate-cards", catalog.RateCards.as_view()),
    path("packs", catalog.Packs.as_view()),
    path("accounts/<str:account>/events", events.AccountEvents.as_view()),
    path("events", events.Events.as_view()),
    path("charges", charges.Charges.as_view()),
    path("transfers", pools.Transfers.as_view()),
    path("grants/<str:grant>/revoke", grants.RevokeGrant.as_view()),
    path("postings/<str:posting_id>/reverse", entries.ReversePosting.as_view()),
    path("holds", holds.Holds.as_view()),
    path("holds/<str:hold>", holds.OneHold.as_view()),
    path("holds/<str:hold>/capture", holds.CaptureHold.as_view()),
    path("holds/<str:hold>/release", holds.ReleaseHold.as_view()),
    path("holds/<str:hold>/extend", holds.ExtendHold.as_view()),
    path("problems", docs.Problems.as_view()),
    path("problems/<str:code>", docs.OneProblem.as_view()),
    path("schema", docs.Schema.as_view(), name="api-schema"),
    path("docs", docs.Reference.as_view(), name="api-docs"),
    # Also line breaks, which a plain dot would let through to a page of HTML.
    re_path(r"^[\s\S]*\Z", docs.Nothing.as_view()),
]
