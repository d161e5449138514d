"""Staff pages of the accounts room: API keys. A secret is shown once, on a page of its own that shows nothing again."""

from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.cache import add_never_cache_headers

from billing.accounts import keys, shown_once
from billing.accounts.models import ApiKey, Scope
from billing.admin import asking
from billing.admin.rules import Act, RoomAdmin, staff_user


class IssueForm(forms.ModelForm):
    """What a new key may do, and for whom."""

    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        widget=forms.CheckboxSelectMultiple,
        help_text="Reading never implies a write, and no write implies another.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "account", "scopes", "expires_at")
        help_texts = {
            "account": "Empty: the key is platform-wide, for our own backend.",
            "expires_at": "Empty: until it is revoked.",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("account") is not None and set(cleaned.get("scopes") or ()) - {Scope.READ}:
            self.add_error("scopes", "Staff issue keys of an account to read only: its owners make those that write.")
        return cleaned

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at and expires_at <= timezone.now():
            raise forms.ValidationError("This is in the past.")
        return expires_at


class RotateForm(forms.Form):
    """How long the old key goes on working."""

    overlap_hours = forms.IntegerField(
        label="Overlap in hours",
        min_value=0,
        max_value=keys.MAX_OVERLAP_SECONDS // 3600,
        initial=24,
        help_text="How long the old key works beside the new one. 0 to 720.",
    )


@admin.register(ApiKey)
class ApiKeyAdmin(RoomAdmin):
    """Programs' credentials: issued, rotated and revoked, never edited."""

    form = IssueForm
    list_display = ("name", "shown_prefix", "account", "scopes", "state", "last_used_at", "expires_at", "created_at")
    list_select_related = ("account",)
    list_filter = (
        ("account", admin.EmptyFieldListFilter),
        ("revoked_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("name", "prefix", "account__name", "account__external_id")
    autocomplete_fields = ("account",)
    ordering = ("-pk",)
    actions = ("revoke",)
    add_label = "Issue a key"
    fields = (
        "name", "shown_prefix", "account", "scopes", "state", "created_by", "created_at", "expires_at", "revoked_at",
        "last_used_at", "rotated_from",
    )  # fmt: skip

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return super().get_fields(request, obj) if obj else ("name", "account", "scopes", "expires_at")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # The list needs it for its action; a single key is only looked at.
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        rotate = path("<int:pk>/rotate/", self.admin_site.admin_view(self.rotate_view), name="billing_apikey_rotate")
        secret = path("<int:pk>/secret/", self.admin_site.admin_view(self.secret_view), name="billing_apikey_secret")
        return [rotate, secret, *super().get_urls()]

    def list_acts(self, request: HttpRequest, row: ApiKey) -> list[Act]:
        return [Act("Rotate", self.page_url("rotate", row))] if self.state(row) == "works" else []

    @admin.display(description="key")
    def shown_prefix(self, key: ApiKey) -> str:
        return f"fl_{key.prefix}_…"

    @admin.display
    def state(self, key: ApiKey) -> str:
        if key.revoked_at:
            return "revoked"
        if key.is_pending:
            return "waits for approval"
        return "expired" if key.expires_at and key.expires_at <= timezone.now() else "works"

    def save_model(self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm, change: bool) -> None:
        key, obj.secret = keys.issue(  # type: ignore[attr-defined]
            **form.cleaned_data, created_by=staff_user(request), is_pending=_writes(form.cleaned_data["scopes"]),
            now=timezone.now(),
        )  # fmt: skip
        obj.pk, obj.prefix, obj.is_pending = key.pk, key.prefix, key.is_pending
        self._ask(request, key, overlap_seconds=0)

    def _ask(self, request: HttpRequest, key: ApiKey, *, overlap_seconds: int) -> None:
        """Ask a second person to let a key work that may do more than read."""
        if key.is_pending:
            asking.ask_quietly(
                request, act="key", account_id=key.account_id, reference=f"key:{key.pk}",
                payload={"key_id": key.pk, "overlap_seconds": overlap_seconds, "scopes": key.scopes},
                reason="A new API key.",
            )  # fmt: skip

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: Any = None) -> HttpResponse:
        return self._go_to_secret(request, obj, obj.secret)  # type: ignore[attr-defined]

    def rotate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        key = self.get_object(request, str(pk))
        if key is None or not self.has_add_permission(request):
            raise Http404
        form = RotateForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            seconds = form.cleaned_data["overlap_hours"] * 3600
            try:
                successor, secret = keys.rotate(
                    key=key, overlap_seconds=seconds, rotated_by=staff_user(request),
                    # Whoever made the key had its secret, and gets no more by another.
                    is_pending=_writes(key.scopes) and key.created_by_id != request.user.pk, now=timezone.now(),
                )  # fmt: skip
            except keys.KeyClosed:
                self.message_user(request, "This key no longer works; issue a new one.", messages.ERROR)
                return HttpResponseRedirect(self.page_url("change", key))
            self.note(request, "rotate", successor, facts={"from": str(key)})
            self._ask(request, successor, overlap_seconds=seconds)
            return self._go_to_secret(request, successor, secret)
        return self.render_act(request, key, title=f"Rotate {key.name}", button="Make the new key", form=form)

    def _go_to_secret(self, request: HttpRequest, key: ApiKey, secret: str) -> HttpResponse:
        shown_once.keep(request.session, key_id=key.pk, secret=secret, now=timezone.now())
        return HttpResponseRedirect(self.page_url("secret", key))

    def secret_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The secret of a key that this session has just made; a second time the key's page, which does not have it."""
        key = self.get_object(request, str(pk))
        if key is None or not self.has_add_permission(request):
            raise Http404
        secret = (
            shown_once.take(request.session, key_id=key.pk, now=timezone.now()) if request.method == "GET" else None
        )
        if secret is None:
            text = "A secret is shown once, to who issued the key. If it is lost, rotate the key."
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(self.page_url("change", key))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Copy the secret now",
            "original": key,
            "secret": secret,
            "waits": key.is_pending,
            "back": self.page_url("change", key),
        }
        response = TemplateResponse(request, "admin/billing/apikey/secret.html", context)
        add_never_cache_headers(response)
        return response

    @admin.action(description="Revoke: refuse from the next request on", permissions=["change"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> None:
        now = timezone.now()
        revoked = 0
        for key in rows.filter(revoked_at=None):
            keys.revoke(key=key, now=now)
            self.note(request, "revoke", key)
            revoked += 1
        self.message_user(request, f"{revoked} keys revoked." if revoked != 1 else "1 key revoked.", messages.SUCCESS)


def _writes(scopes: Collection[str]) -> bool:
    """Whether a key of these scopes may do more than read."""
    return bool(set(scopes) - {Scope.READ})
