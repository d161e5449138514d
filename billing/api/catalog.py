"""`/meters`, `/rate-cards`, `/packs`, `/plans`: what is counted, what it costs and what is for sale."""

from decimal import Decimal
from typing import Any

from django.db.models import Prefetch, Q
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts import ids
from billing.accounts.models import Scope
from billing.api.base import ApiView, caller, get_account, read_query
from billing.api.fields import Amount, Document, Instant, PublicId, Text
from billing.api.pagination import PageQuery, newest_first, page_of
from billing.api.schema import refusals
from billing.catalog import plans
from billing.catalog.models import Meter, PlanPrice, PlanVersion, Rate, RateCard, RateCardVersion
from billing.catalog.pack_models import Pack
from billing.catalog.pricing import pack_price
from billing.purchases import offers
from billing.subscriptions.agreement import plans_on_offer as plan_offers

TAGS = ["Catalog"]


class MeterDocument(Document):
    """Something countable."""

    key = serializers.CharField()
    name = serializers.CharField()
    unit = serializers.CharField()
    kind = serializers.ChoiceField(Meter.Kind.choices)
    aggregation = serializers.ChoiceField(Meter.Aggregation.choices, help_text="Of a counter.")
    series_property = serializers.CharField(help_text="Of a gauge: the property that tells its series apart.")
    gauge_unit_seconds = serializers.IntegerField(help_text="Of a gauge: level x this many seconds is one unit.")
    unique_property = serializers.CharField(help_text="Of a unique meter: the property whose values are counted.")
    created_at = Instant()
    archived_at = Instant(allow_null=True, help_text="Since when it takes no more events.")


class Meters(ApiView):
    """All meters."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_meters",
        summary="List meters",
        tags=TAGS,
        parameters=[PageQuery],
        responses={200: page_of(MeterDocument, "Meter"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request) -> Response:
        """Meters, newest first. Scope `read`."""
        query = read_query(request, PageQuery)
        page, next_cursor = newest_first(Meter.objects.all(), query)
        return Response({"items": MeterDocument(page, many=True).data, "next_cursor": next_cursor})


class TierDocument(Document):
    """One slice of a graduated rate."""

    up_to = serializers.CharField(allow_null=True, help_text="In the meter's units, inclusive; null: no end.")
    price = serializers.CharField(help_text="Credits per `unit_size`.")


class RateDocument(Document):
    """How a meter's usage becomes credits."""

    meter = serializers.CharField(source="meter.key")
    match = serializers.DictField(help_text="Property values an event must have; the most specific rate wins.")
    model = serializers.ChoiceField(Rate.Model.choices)
    price = Amount(help_text="Credits per `unit_size`.")
    unit_size = Amount()
    tiers = TierDocument(many=True)
    minimum = Amount(help_text="Credits per period (`counts_by`), once anything is used.")
    rounding = serializers.ChoiceField(Rate.Rounding.choices)
    decimals = serializers.IntegerField(help_text="Credits are rounded to this many decimals.")


class VersionDocument(Document):
    """One published edition of a rate card; it never changes."""

    number = serializers.IntegerField()
    effective_at = Instant(help_text="In force from then until the next version.")
    published_at = Instant()
    counts_by = serializers.ChoiceField(
        RateCardVersion.CountsBy.choices,
        help_text="When tiers, packages and minimums start again from zero: with each billing period of the account's "
        "plan (a month of it where the plan grants credits monthly), or with each calendar month of its time zone. "
        "Without a plan it is the calendar month.",
    )
    rates = RateDocument(many=True)


class RateCardDocument(Document):
    """A price list for usage."""

    key = serializers.CharField()
    name = serializers.CharField()
    is_default = serializers.BooleanField(help_text="For accounts that have no other card.")
    versions = VersionDocument(many=True)


class RateCards(ApiView):
    """Rate cards; a key bound to an account sees the default one and its own."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_rate_cards",
        summary="List rate cards",
        tags=TAGS,
        parameters=[PageQuery],
        responses={200: page_of(RateCardDocument, "RateCard"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request) -> Response:
        """Rate cards with their published versions and rates, newest first. Scope `read`."""
        query = read_query(request, PageQuery)
        published = RateCardVersion.objects.filter(published_at__isnull=False).order_by("-effective_at")
        rates = Rate.objects.select_related("meter").order_by("pk")
        cards = RateCard.objects.prefetch_related(
            Prefetch("versions", published.prefetch_related(Prefetch("rates", rates)))
        )
        own = caller(request).account
        if own is not None:
            # What other customers have agreed on is their business.
            assigned = own.rate_card_assignments.values("rate_card")
            cards = cards.filter(Q(is_default=True) | Q(pk__in=assigned))
        page, next_cursor = newest_first(cards, query)
        return Response({"items": RateCardDocument(page, many=True).data, "next_cursor": next_cursor})


class PackQuery(PageQuery):
    """Filters of the list."""

    credits = Amount(zero=False, required=False, help_text="Quote this amount in each pack that sells it.")


class PackTierDocument(Document):
    """The price of one credit from an amount on."""

    from_credits = Amount()
    unit_price = Amount(help_text="Money per credit, for all credits of the purchase.")


class QuoteDocument(Document):
    """What an amount would cost."""

    credits = Amount()
    unit_price = Amount()
    total = Amount(help_text="Money; before tax unless the pack's prices include it.")


class PackDocument(Document):
    """Credits for sale, priced by volume: the tier that the amount reaches prices all of it."""

    key = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    currency = serializers.CharField()
    min_credits = Amount()
    max_credits = Amount()
    step_credits = Amount(help_text="Amounts go from `min_credits` up in steps of this.")
    validity_days = serializers.IntegerField(allow_null=True, help_text="null: the credits never expire.")
    prices_include_tax = serializers.BooleanField(help_text="Whether prices are with tax; else tax is added.")
    target_segments = serializers.ListField(child=serializers.CharField(), help_text="Empty: everyone.")
    tiers = PackTierDocument(many=True)
    quote = serializers.SerializerMethodField(help_text="With `?credits=`: its price, null if not sold in this pack.")

    @extend_schema_field(QuoteDocument(allow_null=True))
    def get_quote(self, pack: Pack) -> dict[str, Any] | None:
        """The price of the amount that the query asks about."""
        asked: Decimal | None = self.context.get("credits")
        if asked is None or not pack.min_credits <= asked <= pack.max_credits:
            return None
        if (asked - pack.min_credits) % pack.step_credits:
            return None
        tiers = [(tier.from_credits, tier.unit_price) for tier in pack.tiers.all() if tier.from_credits <= asked]
        if not tiers:
            return None
        unit_price, total = pack_price(tiers, asked, pack.currency)
        return QuoteDocument({"credits": asked, "unit_price": unit_price, "total": total}).data


class Packs(ApiView):
    """Packs on sale."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_packs",
        summary="List packs",
        tags=TAGS,
        parameters=[PackQuery],
        responses={200: page_of(PackDocument, "Pack"), **refusals("invalid_cursor")},
    )
    def get(self, request: Request) -> Response:
        """Packs on sale, newest first, with their tiers and, if asked, a quote; to a key bound to an account those that
        it can buy. Scope `read`."""
        query = read_query(request, PackQuery)
        own = caller(request).account
        # What is for another segment is not for everyone to see.
        rows = Pack.objects.filter(is_active=True) if own is None else offers.packs_for(own)
        page, next_cursor = newest_first(rows.prefetch_related("tiers"), query)
        context = {"credits": query.get("credits")}
        return Response({"items": PackDocument(page, many=True, context=context).data, "next_cursor": next_cursor})


class PlanTierDocument(Document):
    """One tier of an overage price."""

    up_to = serializers.CharField(allow_null=True, help_text="Credits of overage in a period, inclusive; null: no end.")
    price = serializers.CharField(help_text="Money per `overage_unit` credits.")


class PlanPriceDocument(Document):
    """What a plan costs in one currency."""

    currency = serializers.CharField()
    fee = Amount(help_text="Per period, in advance.")
    seat_price = Amount(help_text="Per period, for each seat beyond `seats_included`.")
    minimum = Amount(help_text="The least that fee, seats and overage of a period come to; the rest is invoiced.")
    overage_tiers = PlanTierDocument(many=True, help_text="Empty unless `policy` is overage; one tier is one price.")


class PlanDocument(Document):
    """A plan on sale, in its newest edition, which never changes. Subscribers of older ones keep theirs."""

    id = PublicId(
        ids.PLAN_VERSION, source="pk", help_text="Of the version: what a subscription names as `plan_version`."
    )
    key = serializers.CharField(source="plan.key", help_text="What a subscription names as `plan`.")
    name = serializers.CharField(source="plan.name")
    description = serializers.CharField(source="plan.description")
    version = serializers.IntegerField(source="number")
    published_at = Instant()
    interval = serializers.ChoiceField(PlanVersion.Interval.choices)
    interval_count = serializers.IntegerField(help_text="A period is so many intervals long.")
    trial_days = serializers.IntegerField()
    trial_credits = Amount()
    included_credits = Amount(help_text="Per period, or per month of it with `grants_monthly`.")
    grants_monthly = serializers.BooleanField()
    credits_per_seat = Amount(help_text="Further credits for each seat.")
    seats_included = serializers.IntegerField()
    seats_max = serializers.IntegerField(allow_null=True)
    rollover = serializers.ChoiceField(PlanVersion.Rollover.choices)
    rollover_percent = Amount(allow_null=True, help_text="Of the included credits, with rollover `share`.")
    rollover_amount = Amount(allow_null=True, help_text="Credits, with rollover `amount`.")
    rollover_periods = serializers.IntegerField(help_text="How often a credit may roll over.")
    rollover_cap = Amount(allow_null=True, help_text="Most rolled credits together.")
    policy = serializers.ChoiceField(PlanVersion.Policy.choices, help_text="What happens when credits run out.")
    burst_limit = Amount(help_text="Credits of overdraft, with policy `burst`.")
    overage_cap = Amount(allow_null=True, help_text="Credits of overage per period.")
    overage_model = serializers.ChoiceField(PlanVersion.OverageModel.choices)
    overage_unit = Amount(help_text="Credits that an overage price is for.")
    target_segments = serializers.ListField(child=serializers.CharField(), help_text="Empty: everyone.")
    prices_include_tax = serializers.BooleanField()
    prices = PlanPriceDocument(many=True)


class PlanQuery(PageQuery):
    """Filters of the list."""

    account = Text(
        required=False,
        max_length=100,
        help_text="Only what this account can subscribe to: our id or your `external_id`.",
    )


class Plans(ApiView):
    """Plans on sale."""

    scopes = {"GET": Scope.READ}

    @extend_schema(
        operation_id="list_plans",
        summary="List plans",
        tags=TAGS,
        parameters=[PlanQuery],
        responses={200: page_of(PlanDocument, "Plan"), **refusals("invalid_cursor", "not_found")},
    )
    def get(self, request: Request) -> Response:
        """Plans on sale, newest first, with their prices; with `account`, or a key bound to one, those that it can
        subscribe to, in its currency. Scope `read`."""
        query = read_query(request, PlanQuery)
        own = get_account(request, query["account"]) if "account" in query else caller(request).account
        prices = PlanPrice.objects.order_by("currency")
        rows = plans.versions_on_sale()
        if own is not None:
            # What is for another segment is not for everyone to see.
            rows, prices = plan_offers.versions_for(own), prices.filter(currency=own.currency)
        rows = rows.select_related("plan").prefetch_related(Prefetch("prices", prices))
        page, next_cursor = newest_first(rows, query)
        return Response({"items": PlanDocument(page, many=True).data, "next_cursor": next_cursor})
