"""Routes of the customers' door."""

from django.urls import path

from portal import converters
from portal.entrance import views_profile, views_security
from portal.money import (
    views_card_setups,
    views_checkout,
    views_invoices,
    views_payment_methods,
    views_sandbox_bank,
    views_statements,
    views_top_ups,
)
from portal.notifications import views_inbox
from portal.overview import views_dashboard, views_home
from portal.people import views_api_keys, views_billing_details, views_invitations, views_team
from portal.plans import views_offers, views_plan
from portal.usage import views_help, views_ledger, views_usage

converters.register()

app_name = "portal"
urlpatterns = [
    path("", views_home.home, name="home"),
    path("profile", views_profile.profile, name="profile"),
    path("profile/email", views_profile.change_email, name="change_email"),
    path("profile/email/keep", views_profile.keep_email, name="keep_email"),
    path("security", views_security.security, name="security"),
    path("security/sessions/end", views_security.end_sessions, name="end_sessions"),
    path("invitations/<str:token>", views_invitations.accept, name="invitation"),
    path("a/<str:account>", views_dashboard.dashboard, name="dashboard"),
    path("a/<str:account>/live", views_dashboard.live, name="live"),
    path("a/<str:account>/ledger", views_ledger.ledger, name="ledger"),
    path("a/<str:account>/ledger.csv", views_ledger.export, name="ledger_csv"),
    path("a/<str:account>/help", views_help.help_page, name="help"),
    path("a/<str:account>/usage", views_usage.usage, name="usage"),
    path("a/<str:account>/usage.csv", views_usage.export, name="usage_csv"),
    path("a/<str:account>/plan", views_plan.plan, name="plan"),
    path("a/<str:account>/plan/next-invoice", views_plan.next_invoice, name="plan_next"),
    path("a/<str:account>/plan/history", views_plan.history, name="plan_history"),
    path("a/<str:account>/plan/seats", views_offers.seats, name="plan_seats"),
    path("a/<str:account>/plan/pause", views_plan.pause, name="plan_pause"),
    path("a/<str:account>/plan/cancel", views_plan.cancel, name="plan_cancel"),
    path("a/<str:account>/plans", views_offers.plans, name="plans"),
    path("a/<str:account>/plans/<str:plan>", views_offers.choose, name="plan_choice"),
    path("a/<str:account>/buy", views_checkout.buy, name="buy"),
    path("a/<str:account>/buy/<str:pack>", views_checkout.checkout, name="checkout"),
    path("a/<str:account>/purchases/<uuid:token>", views_checkout.purchase, name="purchase"),
    path("a/<str:account>/purchases/<uuid:token>/cancel", views_checkout.cancel, name="purchase_cancel"),
    path("a/<str:account>/top-ups", views_top_ups.top_ups, name="top_ups"),
    path("a/<str:account>/statement", views_statements.statement, name="statement"),
    path("a/<str:account>/statement.csv", views_statements.export, name="statement_csv"),
    path("a/<str:account>/statement.pdf", views_statements.pdf, name="statement_pdf"),
    path("a/<str:account>/invoices", views_invoices.invoices, name="invoices"),
    path("a/<str:account>/invoices.csv", views_invoices.export, name="invoices_csv"),
    path("a/<str:account>/invoices/<invoice_id:invoice>", views_invoices.invoice, name="invoice"),
    path("a/<str:account>/invoices/<invoice_id:invoice>/pay", views_invoices.pay, name="pay"),
    path("a/<str:account>/invoices/<invoice_id:invoice>/pdf", views_invoices.pdf, name="invoice_pdf"),
    path("a/<str:account>/invoices/<invoice_id:invoice>/xml", views_invoices.xml, name="invoice_xml"),
    path(
        "a/<str:account>/invoices/<invoice_id:invoice>/credit-notes/<credit_note_id:note>",
        views_invoices.credit_note_pdf,
        name="credit_note_pdf",
    ),
    path("a/<str:account>/payment-methods", views_payment_methods.payment_methods, name="payment_methods"),
    path(
        "a/<str:account>/payment-methods/<payment_method_id:method>/default",
        views_payment_methods.make_default,
        name="payment_method_default",
    ),
    path("a/<str:account>/payment-methods/setup", views_card_setups.begin_card_setup, name="card_setup_new"),
    path("a/<str:account>/payment-methods/setup/<uuid:token>", views_card_setups.card_setup, name="card_setup"),
    path(
        "a/<str:account>/payment-methods/<payment_method_id:method>/remove",
        views_payment_methods.remove,
        name="payment_method_remove",
    ),
    path("a/<str:account>/billing-details", views_billing_details.billing_details, name="billing_details"),
    path("a/<str:account>/team", views_team.team, name="team"),
    path("a/<str:account>/team/<member_id:member>", views_team.member, name="member"),
    path("a/<str:account>/team/<member_id:member>/remove", views_team.remove, name="member_remove"),
    path("a/<str:account>/invitations/<invitation_id:invitation>/resend", views_team.resend, name="invitation_resend"),
    path("a/<str:account>/invitations/<invitation_id:invitation>/revoke", views_team.revoke, name="invitation_revoke"),
    path("a/<str:account>/api-keys", views_api_keys.api_keys, name="api_keys"),
    path("a/<str:account>/api-keys/<api_key_id:key>/secret", views_api_keys.secret, name="api_key_secret"),
    path("a/<str:account>/api-keys/<api_key_id:key>/rotate", views_api_keys.rotate, name="api_key_rotate"),
    path("a/<str:account>/api-keys/<api_key_id:key>/revoke", views_api_keys.revoke, name="api_key_revoke"),
    path("a/<str:account>/notifications", views_inbox.notifications, name="notifications"),
    path("a/<str:account>/notifications/read", views_inbox.mark_read, name="notifications_read"),
    path("a/<str:account>/notifications/<notification_id:notification>", views_inbox.follow, name="notification"),
    path(
        "a/<str:account>/notifications/preferences",
        views_inbox.notification_preferences,
        name="notification_preferences",
    ),
    path("sandbox/bank/<str:reference>", views_sandbox_bank.bank, name="bank"),
]
