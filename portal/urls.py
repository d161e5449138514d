"""Routes of the customers' door."""

from django.urls import path

from portal.views import dashboard, entrance, home, invitations, ledger

app_name = "portal"
urlpatterns = [
    path("", home.home, name="home"),
    path("login", entrance.Login.as_view(), name="login"),
    path("logout", entrance.Logout.as_view(), name="logout"),
    path("password-reset", entrance.ForgotPassword.as_view(), name="password_reset"),
    path("password-reset/sent", entrance.ResetSent.as_view(), name="password_reset_sent"),
    path("password-reset/<uidb64>/<token>", entrance.ChoosePassword.as_view(), name="password_reset_confirm"),
    path("invitations/<str:token>", invitations.accept, name="invitation"),
    path("a/<str:account>", dashboard.dashboard, name="dashboard"),
    path("a/<str:account>/ledger", ledger.ledger, name="ledger"),
    path("a/<str:account>/ledger.csv", ledger.export, name="ledger_csv"),
]
