"""An account's pages, enumerated from the routes: what follows `/a/<account>` in their addresses."""

from django.urls import URLPattern

from portal import urls

# Addresses that name a row or only take a POST are in the sweep of every route and in the tests of their pages.
ROUTES = {
    str(route.pattern).removeprefix("a/<str:account>"): str(route.name)
    for route in urls.urlpatterns
    if isinstance(route, URLPattern) and str(route.pattern).startswith("a/")
}
MANAGERS_ONLY = {"/api-keys", "/billing-details", "/buy", "/payment-methods", "/top-ups"}
POST_ONLY = {"/notifications/read", "/payment-methods/setup"}
# Nobody has these without a plan or an issuer: the tests of their pages make both.
NEEDING_ROWS = {"/plan/cancel", "/plan/next-invoice", "/plan/pause", "/plan/seats", "/statement.pdf"}
ACCOUNT_PAGES = [page for page in ROUTES if "<" not in page]
OPEN_PAGES = [page for page in ACCOUNT_PAGES if page not in MANAGERS_ONLY | POST_ONLY | NEEDING_ROWS]
