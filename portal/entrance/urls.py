"""Routes of the entrance, under the names allauth asks for. What is not here does not exist, whatever allauth has."""

from allauth.account import views as account_views
from allauth.mfa.base import views as mfa_views
from allauth.mfa.recovery_codes import views as recovery_views
from allauth.mfa.totp import views as totp_views
from django.urls import path, re_path
from django.views.decorators.http import require_POST

from portal.entrance import forms, views_entrance, views_security

urlpatterns = [
    path("login", views_entrance.Login.as_view(), name="account_login"),
    path(
        "login/code",
        mfa_views.AuthenticateView.as_view(template_name="portal/code.html", form_class=forms.CodeForm),
        name="mfa_authenticate",
    ),
    path("logout", require_POST(account_views.LogoutView.as_view()), name="account_logout"),
    path("signup", views_entrance.SignUp.as_view(), name="account_signup"),
    path(
        "verify-email",
        account_views.EmailVerificationSentView.as_view(template_name="portal/verify_email_sent.html"),
        name="account_email_verification_sent",
    ),
    path(
        "verify-email/<str:key>",
        views_entrance.few_wrong_links(views_entrance.ConfirmEmail.as_view()),
        name="account_confirm_email",
    ),
    path("password-reset", views_entrance.ForgotPassword.as_view(), name="account_reset_password"),
    path(
        "password-reset/sent",
        account_views.PasswordResetDoneView.as_view(template_name="portal/password_reset_sent.html"),
        name="account_reset_password_done",
    ),
    re_path(
        r"^password-reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[0-9A-Za-z-]+)$",
        views_entrance.few_wrong_links(views_entrance.ChoosePassword.as_view()),
        name="account_reset_password_from_key",
    ),
    path("password", views_entrance.ChangePassword.as_view(), name="account_change_password"),
    path(
        "confirm-password",
        account_views.ReauthenticateView.as_view(
            template_name="portal/password_again.html", form_class=forms.PasswordAgainForm
        ),
        name="account_reauthenticate",
    ),
    path(
        "confirm-code",
        mfa_views.ReauthenticateView.as_view(template_name="portal/code_again.html", form_class=forms.CodeAgainForm),
        name="mfa_reauthenticate",
    ),
    path("security", views_security.security, name="mfa_index"),
    path(
        "security/two-factor",
        totp_views.ActivateTOTPView.as_view(template_name="portal/two_factor_on.html", form_class=forms.TwoFactorForm),
        name="mfa_activate_totp",
    ),
    path(
        "security/two-factor/off",
        totp_views.DeactivateTOTPView.as_view(template_name="portal/two_factor_off.html"),
        name="mfa_deactivate_totp",
    ),
    path(
        "security/recovery-codes",
        recovery_views.ViewRecoveryCodesView.as_view(template_name="portal/recovery_codes.html"),
        name="mfa_view_recovery_codes",
    ),
    path(
        "security/recovery-codes/new",
        recovery_views.GenerateRecoveryCodesView.as_view(template_name="portal/recovery_codes_new.html"),
        name="mfa_generate_recovery_codes",
    ),
]
