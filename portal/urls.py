"""Routes of the customers' door."""

from django.urls import path

from portal.views import (
    bank,
    buying,
    dashboard,
    home,
    invitations,
    invoices,
    ledger,
    payment_methods,
    profile,
    security,
    top_ups,
    usage,
)

app_name = "portal"
urlpatterns = [
    path("", home.home, name="home"),
    path("profile", profile.profile, name="profile"),
    path("profile/email", profile.change_email, name="change_email"),
    path("profile/email/keep", profile.keep_email, name="keep_email"),
    path("security", security.security, name="security"),
    path("security/sessions/end", security.end_sessions, name="end_sessions"),
    path("invitations/<str:token>", invitations.accept, name="invitation"),
    path("a/<str:account>", dashboard.dashboard, name="dashboard"),
    path("a/<str:account>/live", dashboard.live, name="live"),
    path("a/<str:account>/ledger", ledger.ledger, name="ledger"),
    path("a/<str:account>/ledger.csv", ledger.export, name="ledger_csv"),
    path("a/<str:account>/usage", usage.usage, name="usage"),
    path("a/<str:account>/usage.csv", usage.export, name="usage_csv"),
    path("a/<str:account>/buy", buying.buy, name="buy"),
    path("a/<str:account>/buy/<str:pack>", buying.checkout, name="checkout"),
    path("a/<str:account>/purchases/<uuid:token>", buying.purchase, name="purchase"),
    path("a/<str:account>/purchases/<uuid:token>/cancel", buying.cancel, name="purchase_cancel"),
    path("a/<str:account>/top-ups", top_ups.top_ups, name="top_ups"),
    path("a/<str:account>/invoices", invoices.invoices, name="invoices"),
    path("a/<str:account>/invoices.csv", invoices.export, name="invoices_csv"),
    path("a/<str:account>/invoices/<int:invoice>", invoices.invoice, name="invoice"),
    path("a/<str:account>/invoices/<int:invoice>/pay", invoices.pay, name="pay"),
    path("a/<str:account>/invoices/<int:invoice>/pdf", invoices.pdf, name="invoice_pdf"),
    path(
        "a/<str:account>/invoices/<int:invoice>/credit-notes/<int:note>",
        invoices.credit_note_pdf,
        name="credit_note_pdf",
    ),
    path("a/<str:account>/payment-methods", payment_methods.payment_methods, name="payment_methods"),
    path(
        "a/<str:account>/payment-methods/<int:method>/default",
        payment_methods.make_default,
        name="payment_method_default",
    ),
    path("a/<str:account>/payment-methods/<int:method>/remove", payment_methods.remove, name="payment_method_remove"),
    path("sandbox/bank/<str:reference>", bank.bank, name="bank"),
]
