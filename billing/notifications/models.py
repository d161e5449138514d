"""Tables of the notifications room: what was said, to whom it goes by e-mail, who has read it, who wants what."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from billing.accounts.models import Account, Member, User


class Channel(models.TextChoices):
    """How somebody is told: by e-mail, or in the portal's inbox."""

    EMAIL = "email", "e-mail"
    INBOX = "inbox", "portal"


class Notification(models.Model):
    """A fact that someone must be told, written in the transaction of the act it tells of, and kept.

    With `email` it is for that address alone and in nobody's inbox; without, for those people of the account whom its
    kind concerns. Until it is expanded nobody has been mailed; in the inbox it stands at once. Its words are fixed when
    it is written: they come from the payload alone, with dates in the account's time zone, which never changes. One
    that a newer notification of the same matter has replaced (`superseded_at`) has left the inbox.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        EXPANDED = "expanded"
        UNDELIVERABLE = "undeliverable", "nobody to tell"

    account = models.ForeignKey(Account, null=True, on_delete=models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=40)
    dedupe_key = models.CharField(max_length=250, unique=True)
    email = models.EmailField(max_length=254, blank=True, help_text="Empty: the people of the account it concerns.")
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=13, choices=State.choices, default=State.PENDING)
    created_at = models.DateTimeField()
    expanded_at = models.DateTimeField(null=True, blank=True, help_text="When those to tell were found.")
    request_id = models.CharField(max_length=64, blank=True, help_text="The request that it comes from, if one.")
    superseded_at = models.DateTimeField(null=True, blank=True, help_text="When a newer one took its place.")

    class Meta:
        indexes = (
            models.Index(fields=("id",), name="notification_pending", condition=Q(state="pending")),
            models.Index(fields=("account", "-id"), name="notification_inbox"),
            models.Index(fields=("account", "created_at"), name="notification_by_time"),
        )

    def __str__(self) -> str:
        return f"{self.kind} ({self.state})"


class NotificationDelivery(models.Model):
    """One message to one address: sent once, tried again from this row until it is sent or given up.

    `due_at` is when it may be tried next; while a worker tries, when that worker is taken for dead. `user` is who reads
    at the address, if it is a login's. `dropped`: the person may not read it any more.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed", "given up"
        DROPPED = "dropped"

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=10, choices=Channel.choices, default=Channel.EMAIL)
    address = models.EmailField(max_length=254)
    user = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.TextField(blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "notification deliveries"
        constraints = (
            models.UniqueConstraint("notification", "channel", Lower("address"), name="delivery_once_per_address"),
            models.CheckConstraint(
                name="delivery_sent_has_time", condition=Q(state="sent", sent_at__isnull=False) | ~Q(state="sent")
            ),
        )
        indexes = (models.Index(fields=("due_at",), name="delivery_due", condition=Q(state="pending")),)

    def __str__(self) -> str:
        return f"{self.address} ({self.state})"


class NotificationRead(models.Model):
    """That a member has read a notification of their inbox."""

    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="reads", db_index=False)
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="+")
    read_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("notification", "member"), name="notification_read_once"),)

    def __str__(self) -> str:
        return f"{self.notification_id} by {self.member_id}"


class NotificationPreference(models.Model):
    """What a member has said about being told of a kind through a channel; without a row, the kind's default."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="notification_preferences")
    kind = models.CharField(max_length=40)
    channel = models.CharField(max_length=10, choices=Channel.choices)
    is_on = models.BooleanField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("member", "kind", "channel"), name="preference_unique"),)

    def __str__(self) -> str:
        return f"{self.kind} by {self.channel}: {self.is_on}"
