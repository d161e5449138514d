"""Staff pages of the ledger room: postings with their lines, holds, seals. To look at only."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from billing.admin.ledger.corrections import ReversePages
from billing.admin.rules import FactsAdmin, FactsInline, credits_column, plain_id
from billing.ledger.models import Hold, HoldLine, LedgerEntry, LedgerSeal, Posting, SealedRange


@admin.register(Posting)
class PostingAdmin(ReversePages, FactsAdmin):
    """Acts on the ledger."""

    list_display = (
        plain_id, "posted_at", "account", "pool", "version", "act", "reference", credits_column("credits"),
        credits_column("amount", "change"), credits_column("balance_after"), "meter", "actor",
    )  # fmt: skip
    list_select_related = ("pool__account", "meter")
    list_filter = ("act",)
    search_fields = ("=id", "=reference")
    ordering = ("-id",)
    fields = (
        "account", "pool", "version", "act", "reference", credits_column("credits"), credits_column("amount", "change"),
        credits_column("balance_before"), credits_column("balance_after"), credits_column("overdraft_after"),
        "posted_at", "occurred_at", "meter", "member", "hold", "reverses", "counterpart_id", "actor", "note", "lines",
    )  # fmt: skip
    readonly_fields = fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in ("pool", "pool__account") or super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Posting]:
        return super().get_queryset(request).defer("fingerprint")

    @admin.display(ordering="pool__account__name")
    def account(self, posting: Posting) -> str:
        return str(posting.pool.account)

    @admin.display
    def lines(self, posting: Posting) -> SafeString:
        entries = LedgerEntry.objects.filter(posting=posting).select_related("grant").order_by("line")
        return render_to_string("admin/billing/posting/lines.html", {"entries": entries})


class HoldLineInline(FactsInline):
    """The lots a hold reserves credits of."""

    model = HoldLine
    fields = ("position", "grant", credits_column("amount"))
    readonly_fields = fields
    ordering = ("position",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[HoldLine]:
        return super().get_queryset(request).select_related("grant")


@admin.register(Hold)
class HoldAdmin(FactsAdmin):
    """Credits reserved for work under way."""

    list_display = (
        plain_id, "account", "pool", "reference", "state", credits_column("amount"), credits_column("captured"),
        "created_at", "expires_at", "closed_at",
    )  # fmt: skip
    list_select_related = ("pool__account",)
    list_filter = ("state",)
    search_fields = ("=id", "=reference")
    ordering = ("-id",)
    inlines = (HoldLineInline,)
    fields = (
        "account", "pool", "reference", "state", credits_column("amount"), credits_column("uncovered"),
        credits_column("captured"), "meter", credits_column("quantity"), "properties", "member", "created_at",
        "expires_at", "closed_at", "note",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(ordering="pool__account__name")
    def account(self, hold: Hold) -> str:
        return str(hold.pool.account)


class SealedRangeInline(FactsInline):
    """The versions of pools that a seal covers."""

    model = SealedRange
    fields = ("pool", "first_version", "last_version")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SealedRange]:
        return super().get_queryset(request).select_related("pool")


@admin.register(LedgerSeal)
class LedgerSealAdmin(FactsAdmin):
    """Links of the hash chain over postings."""

    list_display = (plain_id, "sealed_at", "postings", "digest_text")
    ordering = ("-id",)
    inlines = (SealedRangeInline,)
    fields = ("sealed_at", "postings", "digest_text", "previous")
    readonly_fields = fields

    @admin.display(description="digest (SHA-256)")
    def digest_text(self, seal: LedgerSeal) -> str:
        return bytes(seal.digest).hex()
