"""Tables of the notifications room."""

from django.db import models
from django.db.models import Q

from billing.accounts.models import Account


class Notification(models.Model):
    """An outbox row: what someone must be told. `due_at` is when the next delivery may be tried."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        FAILED = "failed", "given up"

    account = models.ForeignKey(Account, null=True, on_delete=models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=40)
    dedupe_key = models.CharField(max_length=200, unique=True)
    email = models.EmailField(max_length=254, blank=True, help_text="Empty: the account's billing address.")
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.TextField(blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("due_at",), name="notification_due", condition=Q(state="pending")),
            models.Index(fields=("account", "-created_at"), name="notification_inbox"),
        )

    def __str__(self) -> str:
        return f"{self.kind} ({self.state})"
