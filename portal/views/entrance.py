"""Signing in and out, and choosing a new password."""

from django.contrib import messages
from django.contrib.auth import views
from django.contrib.messages.views import SuccessMessageMixin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse_lazy

from portal.forms import ChoosePasswordForm, ForgotPasswordForm, LoginForm


class Login(views.LoginView):
    """Sign in; goes on to `next` if that is an address of ours."""

    authentication_form = LoginForm
    template_name = "portal/login.html"
    next_page = "portal:home"
    redirect_authenticated_user = True


class Logout(views.LogoutView):
    """Sign out, by POST only."""

    next_page = "portal:login"

    def post(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        response = super().post(request, *args, **kwargs)
        messages.success(request, "You are signed out.")
        return response


class ForgotPassword(views.PasswordResetView):
    """Ask for a link by e-mail; the answer is the same whether the address is known or not."""

    form_class = ForgotPasswordForm
    template_name = "portal/password_reset.html"
    subject_template_name = "portal/password_reset_subject.txt"
    email_template_name = "portal/password_reset_email.txt"
    success_url = reverse_lazy("portal:password_reset_sent")


class ResetSent(views.PasswordResetDoneView):
    """Says that a link may be on its way."""

    template_name = "portal/password_reset_sent.html"


class ChoosePassword(SuccessMessageMixin, views.PasswordResetConfirmView):
    """Choose a new password with the link of the e-mail; every other session of the person ends."""

    form_class = ChoosePasswordForm
    template_name = "portal/password_reset_confirm.html"
    success_url = reverse_lazy("portal:login")
    success_message = "Your new password is saved. Please sign in with it."
