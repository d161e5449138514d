"""Staff pages of the accounts room: accounts, people and their places. API keys have a file of their own."""

import uuid
from typing import Any

# Their pages are registered by being imported, and taken off below.
from allauth.account import admin as _addresses  # noqa: F401
from allauth.account.models import EmailAddress
from allauth.mfa import admin as _authenticators  # noqa: F401
from allauth.mfa.models import Authenticator
from allauth.usersessions import admin as _sessions  # noqa: F401
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group, Permission
from django.db.models import Field, ForeignKey, ManyToManyField, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.accounts import details, members, people
from billing.accounts.models import Account, Member, Role, User
from billing.accounts.text import PlainEmail, PlainText
from billing.admin import asking, trail
from billing.admin.accounts.account_pages import AccountPages
from billing.admin.accounts.sessions import SessionPages
from billing.admin.asking import OnceForm
from billing.admin.guarding import GuardedPages
from billing.admin.rules import Act, FactsInline, PickOne, RoomAdmin, credits_column, cycle_column
from billing.ledger import balance, pools
from billing.ledger.models import CreditPool
from billing.notifications import logins
from billing.payments.models import GatewayName
from billing.subscriptions.models import Subscription
from billing.wording import amounts, times

ISSUES_KEYS = "billing.add_apikey"


class NewUserForm(forms.ModelForm):
    """A new person, known by e-mail address, who chooses a password by the link of an e-mail."""

    class Meta:
        model = User
        fields = ("email", "name")

    def clean_email(self) -> str:
        email = User.objects.normalize_email(self.cleaned_data["email"])
        if User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError("Somebody has this address already.")
        return email


class UserForm(forms.ModelForm):
    """A person's details. The password is the person's own: staff neither see nor set it."""

    class Meta:
        model = User
        fields = ("email", "name", "is_active", "is_staff", "is_superuser", "groups")


class PlaceInline(FactsInline):
    """The accounts a person is in."""

    model = Member
    fields = ("account", "role", "created_at", "removed_at")
    verbose_name_plural = "accounts"
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        return super().get_queryset(request).select_related("account")


@admin.register(User)
class UserAdmin(SessionPages, GuardedPages, StockUserAdmin):
    """People. Nobody is deleted: what they did stays theirs; switch them off instead. Rights that are given, and other
    addresses, need a second person; rights are taken away immediately."""

    power = "user_rights"
    guarded = ("email", "is_active", "is_staff", "is_superuser", "groups")

    form = UserForm
    add_form = NewUserForm
    ordering = ("email",)
    list_display = ("email", "name", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    search_fields = ("email", "name")
    readonly_fields = ("last_login", "created_at")
    inlines = (PlaceInline,)
    actions = ("send_password_link", "switch_off_second_factor")
    # Plain boxes: the stock two-box widget has no names for screen readers. Rights come with groups only.
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("email", "name")}),
        (
            "Access",
            {
                "fields": ("is_active", "is_staff", "is_superuser", "groups"),
                "description": _("What you give, and another e-mail address, wait until a second person approves."),
            },
        ),
        ("History", {"fields": ("last_login", "created_at")}),
    )
    add_fieldsets = (
        (None, {"fields": ("email", "name"), "description": _("The person gets a link to choose a password.")}),
    )

    def get_urls(self) -> list[URLPattern]:
        # Whoever could set others' passwords could sign in as them.
        return [page for page in super().get_urls() if page.name != "auth_user_password_change"]

    def needs_second(self, name: str, before: Any, wanted: Any) -> bool:
        """Whether it gives a right, or another address, from which a password can be chosen."""
        if name == "groups":
            return bool({group.pk for group in wanted} - {group.pk for group in before})
        return name == "email" or bool(wanted)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # Nobody makes themselves or others more than they are themselves.
        powers = () if request.user.is_superuser else ("is_staff", "is_superuser", "groups")
        return (*self.readonly_fields, *powers)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_colleague = obj is not None and (obj.is_staff or obj.is_superuser)
        allowed = request.user.is_superuser or not is_colleague
        return allowed and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool) -> None:
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        if not change:
            self._send_password_link(obj)
        if change and "is_active" in form.changed_data and not obj.is_active:
            people.switch_off(user_id=obj.pk, now=timezone.now())

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        user = User.objects.get(pk=form.instance.pk)
        has_lost = {"is_staff", "is_superuser", "groups"} & set(form.changed_data) and not user.has_perm(ISSUES_KEYS)
        if has_lost and (count := people.revoke_issued_keys(user=user, now=timezone.now())):
            text = f"{user} may not issue API keys any more: {count} that they issued no longer work."
            self.message_user(request, text, messages.WARNING)

    @admin.action(description=_("E-mail a link to choose a password"), permissions=["change"])
    def send_password_link(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        for user in rows.filter(is_active=True):
            self._send_password_link(user)
            self.note(request, "send_password_link", user)
            self.message_user(request, gettext("%(person)s gets a link.") % {"person": user}, messages.SUCCESS)

    def _send_password_link(self, user: User) -> None:
        payload = {"user_id": user.pk, "name": user.get_short_name()}
        logins.tell(kind="password_reset", about=user.pk, email=user.email, payload=payload, now=timezone.now())

    @admin.action(description="Switch off two-factor sign-in, of who lost their phone", permissions=["change"])
    def switch_off_second_factor(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        for user in rows:
            if people.switch_off_second_factor(user_id=user.pk):
                self.note(request, "two_factor_off", user)
                logins.tell_changed(
                    kind="two_factor_off", user=user, email=user.email, client="", where="our staff", now=timezone.now()
                )
                self.message_user(request, f"{user} signs in by password alone now, and is told so.", messages.SUCCESS)
            else:
                self.message_user(request, f"{user} has no two-factor sign-in.", messages.WARNING)


# allauth's rows are changed by its flows and by what stands above, never by hand.
for _model in (Authenticator, EmailAddress, UserSession):
    admin.site.unregister(_model)
admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(GuardedPages, StockGroupAdmin):
    """What groups of staff may do. Giving a group more needs a second person."""

    power = "group_rights"
    guarded = ("permissions",)

    filter_horizontal = ()
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def needs_second(self, name: str, before: Any, wanted: Any) -> bool:
        """Whether it gives the group a right."""
        return bool({right.pk for right in wanted} - {right.pk for right in before})

    def formfield_for_manytomany(self, db_field: ManyToManyField, request: Any = None, **kwargs: Any) -> Any:
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None and db_field.name == "permissions":
            ours = Permission.objects.filter(content_type__app_label="billing").select_related("content_type")
            field.queryset = ours.order_by("codename")
            field.widget.attrs["size"] = 24
        return field


class MemberInline(FactsInline):
    """The people in an account."""

    model = Member
    fields = ("user", "role", "created_at", "removed_at")
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        return super().get_queryset(request).select_related("user").order_by("removed_at", "pk")


class PoolInline(FactsInline):
    """The pools of an account."""

    model = CreditPool
    fields = (
        "key",
        "name",
        "policy",
        credits_column("balance"),
        credits_column("held"),
        credits_column("overdraft"),
        cycle_column("cycle_allocation"),
        cycle_column("cycle_spent"),
    )
    readonly_fields = fields[3:]
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[CreditPool]:
        return super().get_queryset(request).select_related("account")


@admin.register(Account)
class AccountAdmin(GuardedPages, AccountPages):
    """Customers. Adding one opens its main pool too."""

    power = "account_gateway"
    guarded = ("gateway",)

    list_display = (
        "name", "test", "external_id", credits_column("main_balance", "balance"), "country", "currency", "time_zone",
        "account_manager", "parked_at", "created_at",
    )  # fmt: skip
    list_select_related = ("account_manager",)
    list_filter = (("parked_at", admin.EmptyFieldListFilter), "country", "currency")
    search_fields = ("name", "external_id", "billing_email")
    ordering = ("name", "pk")
    inlines = (PoolInline, MemberInline)
    actions = ("release",)
    refusals = {pools.ExternalIdTaken: "Another account has this external id."}
    fieldsets = (
        (None, {"fields": ("name", "external_id", "available", "billing_email", "tax_number")}),
        ("Where", {"fields": ("address", "country", "region", "postal_code", "currency", "time_zone")}),
        ("Ours", {"fields": ("account_manager", "segment_override", "gateway")}),
        ("State", {"fields": ("created_at", "parked_at", "parked_reason")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        main = CreditPool.objects.filter(account=OuterRef("pk"), kind=CreditPool.Kind.MAIN)
        main_pool = {"main_pool_id": Subquery(main.values("pk")), "main_balance": Subquery(main.values("balance"))}
        return super().get_queryset(request).annotate(**main_pool)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = ("available", "created_at", "parked_at", "parked_reason")
        return (*fixed, "external_id", "currency", "time_zone") if obj else fixed

    def formfield_for_dbfield(self, db_field: Field, request: Any, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name != "gateway" or field is None:
            return field
        choices = [("", "As the settings say"), *GatewayName.choices]
        return forms.ChoiceField(
            choices=choices, required=False, label="Payments through", help_text=db_field.help_text
        )

    def formfield_for_foreignkey(self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "account_manager":
            kwargs["queryset"] = User.objects.filter(is_staff=True, is_active=True).order_by("email")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Account, form: forms.ModelForm, change: bool) -> None:
        if change:
            changes = {name: form.cleaned_data[name] for name in form.changed_data}
            details.change(account_id=obj.pk, changes=changes)
            return
        ours = {name: form.cleaned_data.pop(name) for name in ("account_manager", "gateway")}
        opened = pools.open_account(**form.cleaned_data, now=timezone.now())
        details.change(account_id=opened.pk, changes={name: value for name, value in ours.items() if value})
        obj.pk = opened.pk

    def list_acts(self, request: HttpRequest, row: Account) -> list[Act]:
        edit = self.page_url("change", row)
        live = row.subscriptions.exclude(state=Subscription.State.ENDED).exists()
        others = [act for act in self.list_overview_acts(request, row, subscribed=live) if act.url != edit]
        return [Act("At a glance", self.page_url("overview", row)), *others]

    @admin.action(description="Release parked accounts", permissions=["change"])
    def release(self, request: HttpRequest, rows: QuerySet[Account]) -> None:
        for account in rows.filter(parked_at__isnull=False):
            if details.release(account_id=account.pk):
                self.note(request, "release", account)
                self.message_user(request, f"{account} may charge again.", messages.SUCCESS)

    @admin.display(description=_("kind"), ordering="clock_at")
    def test(self, row: Account) -> str:
        return str(_("Test account")) if row.is_test else str(_("Customer"))

    @admin.display(description="available now")
    def available(self, row: Account) -> str:
        if row._state.adding:
            return "-"
        now = timezone.now()
        reading = balance.read(pool_id=row.main_pool_id, now=now)  # type: ignore[attr-defined]
        text = f"{amounts.exact_credits_text(reading.available)} credits in the main pool"
        if reading.next_expiry is None:
            return text
        amount = amounts.exact_credits_text(reading.next_expiry.credits)
        return f"{text}; {amount} expire {times.days_off(reading.next_expiry.at, now)}"


class InviteForm(OnceForm):
    """Whom to invite to which account."""

    account = forms.ModelChoiceField(
        label=_("Account"),
        queryset=Account.objects.all(),
        widget=PickOne(Member._meta.get_field("account"), admin.site),
    )
    email = PlainEmail(label=_("E-mail address"), max_length=254)
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.MEMBER)
    reason = PlainText(
        label=_("Reason"),
        max_length=200,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text=_("For the audit log, for example the number of a support request."),
    )
    field_order = ("token", "account", "email", "role", "reason")


@admin.register(Member)
class MemberAdmin(RoomAdmin):
    """Who is in which account. People come by invitation only; who is removed keeps their history."""

    list_display = ("user", "account", "role", "created_at", "removed_at")
    list_select_related = ("user", "account")
    list_filter = ("role", ("removed_at", admin.EmptyFieldListFilter))
    search_fields = ("user__email", "user__name", "account__name", "account__external_id")
    ordering = ("-pk",)
    fields = ("account", "user", "role")
    readonly_fields = ("account", "user")
    actions = ("remove",)
    add_label = "Invite somebody"

    def name_of(self, row: Member) -> str:
        return f"{row.user} in {row.account}"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Ask whom to invite, and send the invitation; who is to manage the account, once a second person agrees."""
        self.require(self.has_add_permission(request))
        form = InviteForm(request.POST or None, initial={"token": uuid.uuid4(), "account": request.GET.get("account")})
        if request.method == "POST" and form.is_valid():
            typed = form.cleaned_data
            account_id = typed["account"].pk
            payload = {"account_id": account_id, "email": typed["email"].lower(), "role": typed["role"]}
            done = asking.ask(request, form, act="invite", account_id=account_id, payload=payload)
            if done is not None:
                said = gettext("%(email)s is invited.") % {"email": typed["email"]}
                return asking.answer(request, done, said=said, to=self.page_url("changelist"))
        return self.render_act(
            request, None, title=gettext("Invite somebody to an account"), button=gettext("Invite"), form=form,
            warning=gettext("Owners and admins are invited once a second person has approved it."),
        )  # fmt: skip

    def save_model(self, request: HttpRequest, obj: Member, form: forms.ModelForm, change: bool) -> None:
        """Give the member another role; one that manages the account, once a second person agrees."""
        if "role" not in form.changed_data:
            return
        request.florin_asked = asking.ask_quietly(  # type: ignore[attr-defined]
            request, act="member_role", account_id=obj.account_id, payload={"member_id": obj.pk, "role": obj.role},
            reference=f"role:{uuid.uuid4()}", reason=gettext("Asked for on the member's page."),
        )  # fmt: skip

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """What was done, `save_model` has noted."""

    def response_change(self, request: HttpRequest, obj: Member) -> HttpResponse:
        done, to = getattr(request, "florin_asked", None), self.page_url("change", obj)
        if done is None:
            trail.settle(request)
            return HttpResponseRedirect(to)
        said = gettext("%(person)s is %(role)s now.")
        said %= {"person": obj.user, "role": obj.get_role_display().lower()}
        return asking.answer(request, done, said=said, to=to)

    @admin.action(description="Remove from the account", permissions=["change"])
    def remove(self, request: HttpRequest, rows: QuerySet[Member]) -> None:
        now = timezone.now()
        for member in rows.filter(removed_at=None).select_related("user", "account"):
            try:
                members.remove(member_id=member.pk, now=now)
            except members.LastOwner:
                text = f"{member.user} is the last owner of {member.account} and stays."
                self.message_user(request, text, messages.WARNING)
            else:
                self.note(request, "remove", member)
                self.message_user(request, f"{member.user} is no longer in {member.account}.", messages.SUCCESS)
