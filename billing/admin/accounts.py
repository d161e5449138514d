"""Staff pages of the accounts room: accounts, people and their places. API keys have a file of their own."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group, Permission
from django.db.models import Field, ForeignKey, ManyToManyField, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone

from billing.accounts import addresses, details, members, people
from billing.accounts.models import Account, Member, User
from billing.admin.account_views import AccountPages
from billing.admin.rules import Act, FactsInline, RoomAdmin, credits_column
from billing.admin.sessions import SessionPages
from billing.ledger import balance, pools
from billing.ledger.models import CreditPool
from billing.notifications import logins, wording
from billing.payments.models import GatewayName
from billing.subscriptions.models import Subscription

ISSUES_KEYS = "billing.add_apikey"


class NewUserForm(AdminUserCreationForm):
    """A new person, known by e-mail address."""

    class Meta:
        model = User
        fields = ("email", "name")

    def clean_email(self) -> str:
        email = User.objects.normalize_email(self.cleaned_data["email"])
        if User.objects.filter(email__iexact=email).exists():
            raise forms.ValidationError("Somebody has this address already.")
        return email


class UserForm(UserChangeForm):
    """A person's details."""

    class Meta:
        model = User
        fields = "__all__"


class PlaceInline(FactsInline):
    """The accounts a person is in."""

    model = Member
    fields = ("account", "role", "created_at", "removed_at")
    verbose_name_plural = "accounts"
    show_change_link = True


@admin.register(User)
class UserAdmin(SessionPages, StockUserAdmin):
    """People. Nobody is deleted: what they did stays theirs; switch them off instead."""

    form = UserForm
    add_form = NewUserForm
    ordering = ("email",)
    list_display = ("email", "name", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    search_fields = ("email", "name")
    readonly_fields = ("last_login", "created_at")
    inlines = (PlaceInline,)
    actions = ("switch_off_second_factor",)
    # Plain boxes: the stock two-box widget has no names for screen readers. Rights come with groups only.
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        ("History", {"fields": ("last_login", "created_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)

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
        super().save_model(request, obj, form, change)
        if not change or "email" in form.changed_data:
            # Staff vouch for the addresses they type.
            addresses.trust(obj)
        if change and "is_active" in form.changed_data and not obj.is_active:
            people.switch_off(user_id=obj.pk, now=timezone.now())

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        user = User.objects.get(pk=form.instance.pk)
        has_lost = {"is_staff", "is_superuser", "groups"} & set(form.changed_data) and not user.has_perm(ISSUES_KEYS)
        if has_lost and (count := people.revoke_issued_keys(user=user, now=timezone.now())):
            text = f"{user} may not issue API keys any more: {count} that they issued no longer work."
            self.message_user(request, text, messages.WARNING)

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
class GroupAdmin(RoomAdmin, StockGroupAdmin):
    """What groups of staff may do."""

    filter_horizontal = ()
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

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
        credits_column("cycle_allocation"),
        credits_column("cycle_spent"),
    )
    readonly_fields = fields[3:]
    show_change_link = True


@admin.register(Account)
class AccountAdmin(AccountPages):
    """Customers. Adding one opens its main pool too."""

    list_display = (
        "name", "external_id", credits_column("main_balance", "balance"), "country", "currency", "time_zone",
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

    @admin.display(description="available now")
    def available(self, row: Account) -> str:
        if row._state.adding:
            return "-"
        now = timezone.now()
        reading = balance.read(pool_id=row.main_pool_id, now=now)  # type: ignore[attr-defined]
        text = f"{wording.exact_credits_text(reading.available)} credits in the main pool"
        if reading.next_expiry is None:
            return text
        amount = wording.exact_credits_text(reading.next_expiry.credits)
        return f"{text}; {amount} expire {wording.days_off(reading.next_expiry.at, now)}"


class MemberForm(forms.ModelForm):
    """A place in an account."""

    class Meta:
        model = Member
        fields = ("account", "user", "role")

    def _get_validation_exclusions(self) -> set[str]:
        # Leave the unique constraint to `members.add`: it counts removed members too, whom adding brings back.
        return {*super()._get_validation_exclusions(), "user"}  # type: ignore[misc]


@admin.register(Member)
class MemberAdmin(RoomAdmin):
    """Who is in which account. Somebody removed keeps their history and may be added again."""

    form = MemberForm
    list_display = ("user", "account", "role", "created_at", "removed_at")
    list_select_related = ("user", "account")
    list_filter = ("role", ("removed_at", admin.EmptyFieldListFilter))
    search_fields = ("user__email", "user__name", "account__name", "account__external_id")
    autocomplete_fields = ("account", "user")
    ordering = ("-pk",)
    fields = ("account", "user", "role")
    actions = ("remove",)
    refusals = {
        members.AlreadyMember: "This person is in that account already.",
        members.LastOwner: "Nothing was changed: the account would be left without an owner.",
        Member.DoesNotExist: "This person has been removed from the account; add them anew instead.",
    }

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("account", "user") if obj else ()

    def name_of(self, row: Member) -> str:
        return f"{row.user} in {row.account}"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Member, form: forms.ModelForm, change: bool) -> None:
        if change:
            members.change_role(member_id=obj.pk, role=obj.role, now=timezone.now())
        else:
            obj.pk = members.add(account=obj.account, user=obj.user, role=obj.role, now=timezone.now()).pk

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
