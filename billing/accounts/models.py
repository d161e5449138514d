"""Tables of the accounts room."""

import uuid
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Lower

from billing.accounts.fields import LowerEmailField, validate_currency, validate_external_id, validate_time_zone
from billing.accounts.text import Email, Lines, Name, said_of


class UserManager(BaseUserManager["User"]):
    """Creates users by e-mail address, as `createsuperuser` and the tests expect."""

    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        """A user whose address is vouched for by whoever runs this; who signs up proves it with a link instead."""
        # It imports allauth's models, which need this one.
        from billing.accounts import addresses

        user = self.model(email=email.lower(), **fields)
        user.set_password(password)
        with transaction.atomic(using=self._db):
            user.save(using=self._db)
            addresses.trust(user)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        """Find a user whatever the case of the address typed at login."""
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin):
    """A person who can log in: a customer's member, or staff. The e-mail address, in lower case, is the login name.

    Whether the address has been proved to be theirs, and a new one that has not yet, is in allauth's `EmailAddress`.
    """

    email = LowerEmailField(max_length=254)
    name = Name(max_length=120, blank=True)
    is_staff = models.BooleanField(default=False, help_text="May open the staff admin.")
    is_active = models.BooleanField(default=True, help_text="Switch off instead of deleting.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        permissions = (("end_sessions", "Can sign people out"),)
        constraints = (models.UniqueConstraint(Lower("email"), name="user_email_unique"),)

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return (self.name or self.email).split()[0]


class Account(models.Model):
    """A customer organisation; owns pools, subscription and invoices.

    `external_id` is the integrator's own id for it. It may not start with `acc_`, so that `{account}` in a URL can be
    either our id or theirs without doubt. A parked account (`parked_at`) refuses charges, holds and transfers until
    staff release it; facts (usage events) are still recorded. So does one that is paused (`paused_at`), until what it
    owes is paid or its subscription goes on. An account on a test clock (`clock_at`) is a test account and lives at
    that time, which stands still until the clock is moved: see `clocks`.
    """

    name = Name(max_length=200)
    external_id = models.CharField(max_length=100, unique=True, validators=[validate_external_id])
    billing_email = Email(max_length=254)
    country = models.CharField(
        max_length=2, validators=[RegexValidator(r"^[A-Z]{2}\Z", "Use the two-letter ISO 3166-1 code, e.g. DE.")]
    )
    currency = models.CharField(max_length=3, default="USD", validators=[validate_currency])
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    tax_number = Name(max_length=32, blank=True)
    address = Lines(max_length=500, blank=True, help_text="As invoices show it, without the country.")
    region = Name(max_length=10, blank=True, help_text="ISO 3166-2 code without the country, e.g. CA.")
    gateway = models.CharField(
        max_length=20, blank=True, help_text="Who collects its payments; empty: as the settings say."
    )
    postal_code = Name(max_length=16, blank=True, help_text="Where tax depends on it, as in the US.")
    segment_override = Name(max_length=40, blank=True, help_text="Wins over the computed segment.")
    account_manager = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="managed_accounts"
    )
    created_at = models.DateTimeField()
    paused_at = models.DateTimeField(null=True, blank=True)
    parked_at = models.DateTimeField(null=True, blank=True)
    parked_reason = Name(max_length=200, blank=True)
    clock_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="Its time, if on a test clock.")

    class Meta:
        permissions = (
            ("impersonate_account", "Can look at the portal as an account's viewer"),
            ("view_figures", "Can see the business figures"),
        )
        constraints = (
            models.CheckConstraint(
                name="account_external_id_unlike_ours", condition=~Q(external_id__startswith="acc_")
            ),
            models.CheckConstraint(name="account_external_id_present", condition=~Q(external_id="")),
        )

    def __str__(self) -> str:
        """As staff see it in lists, pages and messages; customers are shown their `name`."""
        return f"{self.name} (test)" if self.is_test else self.name

    @property
    def is_test(self) -> bool:
        """Whether it is left out of books, figures and queues."""
        return self.clock_at is not None


class TestClock(models.Model):
    """How an account's test clock is moved: to `target_at`, by whoever holds it until `locked_until`. The time it shows
    is the account's `clock_at`. `problem`: why it stopped on the way."""

    account = models.OneToOneField(Account, on_delete=models.PROTECT, related_name="test_clock")
    target_at = models.DateTimeField(null=True, blank=True)
    locked_until = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(help_text="In real time.")

    class Meta:
        indexes = (models.Index(fields=("target_at",), name="test_clock_moving", condition=Q(target_at__isnull=False)),)

    def __str__(self) -> str:
        return f"test clock of {said_of(self, 'account')}"


class Role(models.TextChoices):
    """What a member may do: owners and admins manage, members spend, viewers look."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class Member(models.Model):
    """A user's place in an account."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="members")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True, help_text="A removed member keeps its history.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "user"), name="member_unique"),)

    def __str__(self) -> str:
        return f"{said_of(self, 'user')} in {said_of(self, 'account')} ({self.role})"


class Invitation(models.Model):
    """An offer of a place in an account, sent by e-mail; only the token's digest is stored."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="invitations")
    email = Email(max_length=254)
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    token_digest = models.BinaryField(max_length=32, unique=True)
    invited_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                "account",
                Lower("email"),
                condition=Q(accepted_at=None, revoked_at=None),
                name="invitation_one_open_per_address",
            ),
        )

    def __str__(self) -> str:
        return f"{self.email} to {said_of(self, 'account')}"


class Scope(models.TextChoices):
    """What a key may do. `read` never implies a write, and a write never implies another."""

    READ = "read"
    USAGE_WRITE = "usage:write"
    CHARGES_WRITE = "charges:write"
    ACCOUNTS_WRITE = "accounts:write"
    CREDITS_WRITE = "credits:write"
    PAYMENTS_WRITE = "payments:write"


class ApiKey(models.Model):
    """A program's credential: platform-wide (`account` empty) or bound to one account.

    The secret is `fl_<prefix>_<random>`; the row keeps the prefix for look-up and the SHA-256 digest of the whole
    (the secret has 256 random bits, so a slow hash would add cost and no safety). A key and those it was rotated into
    share a `lineage`: to a caller they are one key whose secret has changed.
    """

    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="api_keys")
    name = Name(max_length=80)
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.BinaryField(max_length=32)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope.choices))
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="Kept to the minute.")
    rotated_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL)
    lineage = models.UUIDField(default=uuid.uuid4, editable=False)
    is_pending = models.BooleanField(default=False, help_text="It does not work until a second person approves it.")

    def __str__(self) -> str:
        return f"{self.name} (fl_{self.prefix}…)"


class IdempotencyKey(models.Model):
    """One `Idempotency-Key` header of a lineage of API keys: who holds it, and the first answer once there is one.

    `locked_until` is the lease of the request that is running; when it has passed without an answer its holder is
    taken for dead and another request may run.
    """

    lineage = models.UUIDField(help_text="Of the API key, so that a request can be repeated after a rotation.")
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32, help_text="SHA-256 of method, path and body.")
    created_at = models.DateTimeField()
    locked_until = models.DateTimeField()
    lease = models.UUIDField(help_text="Who holds the lock; an overtaken holder cannot write its answer.")
    status = models.SmallIntegerField(null=True)
    body = models.TextField(blank=True)
    content_type = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("lineage", "key"), name="idempotency_key_unique"),)
        indexes = (models.Index(fields=("created_at",), name="idempotency_created"),)

    def __str__(self) -> str:
        return self.key


class Throttle(models.Model):
    """How often something was tried or sent since its window began; `name` has the door and a digest of for whom."""

    name = models.CharField(max_length=80, primary_key=True)
    count = models.PositiveIntegerField()
    window_ends_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("window_ends_at",), name="throttle_over"),)

    def __str__(self) -> str:
        return self.name


class StaffAct(models.Model):
    """What a member of staff did, append-only: who, what, to which row, before, after, and why.

    `model` and `row_id` name the row (`account`, `42`); `label` is how it was called then. `before` and `after` hold
    only the fields that differ. `request_id` ties acts of one request together; `client` is the address it came from.
    An attempt that was refused is `refused`, with what was attempted in `after`.
    """

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="staff_acts")
    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.PROTECT, related_name="staff_acts")
    act = models.CharField(max_length=40)
    model = models.CharField(max_length=60)
    row_id = models.CharField(max_length=60, blank=True)
    label = models.CharField(max_length=200, blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    reason = Name(max_length=300, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    client = models.GenericIPAddressField(null=True, blank=True)
    acted_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(fields=("-acted_at",), name="staff_act_by_time"),
            models.Index(fields=("model", "row_id"), name="staff_act_of_row"),
        )

    def __str__(self) -> str:
        return f"{self.act} {self.label}"


class AccountNote(models.Model):
    """What staff remember about a customer, for each other only. Append-only: a note is answered, never rewritten."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="notes", db_index=False)
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", db_index=False)
    text = Lines(max_length=2000)
    noted_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=("account", "-id"), name="account_note_of_account"),)

    def __str__(self) -> str:
        return self.text[:60]


class Approval(models.Model):
    """An act of staff that counts against the limit for one person's day (M8).

    `act` names it in the list of what staff can do (`billing.admin.powers`), `payload` is everything it takes.
    `credits` and `amount` (money, of `currency`) are what it is worth. Within the limit it is done in the transaction
    that writes this row (`immediate`); beyond, it waits for a second person and is done once, in the transaction that
    approves it. Acts on rights and on bank statements are about no single account.
    """

    class State(models.TextChoices):
        IMMEDIATE = "immediate", "done at once"
        WAITING = "waiting"
        APPROVED = "approved"
        REJECTED = "rejected"
        WITHDRAWN = "withdrawn"

    account = models.ForeignKey(Account, null=True, blank=True, on_delete=models.CASCADE, related_name="approvals")
    act = models.CharField(max_length=20)
    payload = models.JSONField()
    reference = models.CharField(max_length=250, unique=True)
    credits = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    amount = models.DecimalField(max_digits=24, decimal_places=6, default=0, help_text="Money.")
    currency = models.CharField(max_length=3, blank=True, help_text="Empty: no money is moved.")
    reason = Name(max_length=300)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="approvals_requested", db_index=False)
    requested_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.PROTECT, related_name="approvals_decided"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_note = Name(max_length=300, blank=True)

    class Meta:
        permissions = (("decide_approval", "Can approve or reject what another member of staff asks for"),)
        constraints = (
            models.CheckConstraint(
                name="approval_by_a_second_person",
                condition=~Q(state="approved") | (Q(decided_by__isnull=False) & ~Q(decided_by=F("requested_by"))),
            ),
            models.CheckConstraint(
                name="approval_worth_sane",
                condition=Q(credits__gte=0, credits__lt=10**18, amount__gte=0, amount__lt=10**18),
            ),
            models.CheckConstraint(name="approval_money_has_a_currency", condition=Q(amount=0) | ~Q(currency="")),
        )
        indexes = (
            models.Index(fields=("state", "-requested_at"), name="approval_queue"),
            models.Index(fields=("requested_by", "requested_at"), name="approval_of_a_day"),
        )

    def __str__(self) -> str:
        worth = [f"{self.credits.normalize():f} credits"] if self.credits else []
        worth += [f"{self.amount.normalize():f} {self.currency}"] if self.currency else []
        return f"{self.act} of {' and '.join(worth)}" if worth else self.act
