"""Staff pages of meters and packs."""

from decimal import Decimal

from django.test import Client

from billing.catalog.models import Meter
from billing.catalog.pack_models import Pack, PackTier
from tests.admin.conftest import Office, find_unrefused, inlines, post, text_of

METER = {
    "name": "Tokens", "key": "tokens", "unit": "token", "kind": "counter", "aggregation": "sum", "unique_property": "",
    "series_property": "", "gauge_unit_seconds": "3600", "unit_cost": "0.000001", "unit_cost_currency": "USD",
}  # fmt: skip
PACK = {
    "name": "Boost", "key": "boost", "description": "", "is_active": "on", "min_credits": "10000",
    "max_credits": "1000000", "step_credits": "1000", "validity_days": "365", "currency": "USD", "target_segments": "",
}  # fmt: skip


def _tiers(*tiers: tuple[str, str]) -> dict[str, object]:
    sent = inlines(tiers=len(tiers))
    for number, (start, price) in enumerate(tiers):
        sent |= {f"tiers-{number}-from_credits": start, f"tiers-{number}-unit_price": price}
    return sent


def test_a_meter_is_added(staff: Client, office: Office) -> None:
    assert "was added" in post(staff, "/admin/billing/meter/add/", **METER)
    meter = Meter.objects.get(key="tokens")
    assert (meter.unit_cost, meter.kind) == (Decimal("0.000001"), "counter")


FAULTY_METERS = [
    ({"key": "images"}, "already exists"),
    ({"key": "Has Spaces"}, "lower-case letters"),
    ({"kind": "unique"}, "needs the property whose values it counts"),
    ({"unit_cost": "-1"}, "greater than or equal to 0"),
    ({"unit_cost": "NaN"}, "Enter a number"),
    ({"gauge_unit_seconds": "0"}, "greater than or equal to 1"),
    ({"unit_cost_currency": "ZZZ"}, "ISO 4217"),
]


def test_a_faulty_meter_is_refused(staff: Client, office: Office) -> None:
    add = "/admin/billing/meter/add/"
    assert find_unrefused(staff, add, METER, FAULTY_METERS, unchanged=lambda: Meter.objects.count() == 1) == []


def test_how_a_meter_counts_is_settled(staff: Client, office: Office) -> None:
    changed = {**METER, "name": "Pictures", "key": "other", "kind": "gauge"}
    assert "was changed" in post(staff, f"/admin/billing/meter/{office.meter.pk}/change/", **changed)
    office.meter.refresh_from_db()
    assert (office.meter.name, office.meter.key, office.meter.kind) == ("Pictures", "images", "counter")


def test_a_meter_is_archived_and_restored(staff: Client, office: Office) -> None:
    for action, archived in (("archive", True), ("restore", False)):
        page = post(staff, "/admin/billing/meter/", action=action, _selected_action=office.meter.pk)
        assert "Images" in page
        office.meter.refresh_from_db()
        assert (office.meter.archived_at is not None) == archived
    assert "Nothing to do" in post(staff, "/admin/billing/meter/", action="restore", _selected_action=office.meter.pk)


def test_a_pack_is_added_with_its_tiers(staff: Client, office: Office) -> None:
    tiers = _tiers(("10000", "0.10"), ("100000", "0.07"))
    assert "is saved as a draft" in post(staff, "/admin/billing/pack/add/", **PACK, **tiers)
    pack = Pack.objects.get()
    assert list(pack.tiers.values_list("unit_price", flat=True)) == [Decimal("0.10"), Decimal("0.07")]
    page = text_of(staff, "/admin/billing/pack/")
    assert "0.1 from 10,000, 0.07 from 100,000" in page
    assert "10,000 to 1,000,000" in page


FAULTY_PACKS = [
    (_tiers(), "has no price"),
    (_tiers(("20000", "0.1")), "The smallest amount, 10,000 credits, has no price"),
    (_tiers(("10000", "-1")), "pack_tier_sane"),
    (_tiers(("10000", "0.1"), ("10000", "0.2")), "duplicate data"),
    ({"max_credits": "5"}, "pack_amounts_sane"),
    ({"min_credits": "NaN"}, "Enter a number"),
    ({"key": "No Good"}, "lower-case letters"),
]


def test_a_faulty_pack_is_refused(staff: Client, office: Office) -> None:
    add, good = "/admin/billing/pack/add/", {**PACK, **_tiers(("10000", "0.1"))}
    none = lambda: not Pack.objects.exists() and not PackTier.objects.exists()  # noqa: E731
    assert find_unrefused(staff, add, good, FAULTY_PACKS, unchanged=none) == []
