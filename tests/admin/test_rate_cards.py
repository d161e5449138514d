"""Staff pages of rate cards, their versions, and who has which."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from billing.accounts.models import User
from billing.catalog import rate_cards
from billing.catalog.models import Rate, RateCard, RateCardAssignment, RateCardVersion
from tests.admin.conftest import Office, find_unrefused, inlines, post, text_of


@pytest.fixture
def draft(office: Office) -> RateCardVersion:
    """A draft with one rate."""
    card = RateCard.objects.create(key="standard", name="Standard", created_at=office.now)
    version = rate_cards.draft_version(rate_card_id=card.pk, now=office.now)
    Rate.objects.create(version=version, meter=office.meter, price=Decimal("2.5"), unit_size=1000)
    return version


def _url(version: RateCardVersion, page: str = "change") -> str:
    return f"/admin/billing/ratecardversion/{version.pk}/{page}/"


def _rate(office: Office, **changes: object) -> dict[str, object]:
    given = {
        "meter": office.meter.pk, "match": "{}", "model": "per_unit", "price": "3", "unit_size": "1", "tiers": "[]",
        "minimum": "0", "rounding": "half_even", "decimals": "6",
    }  # fmt: skip
    return {
        "note": "",
        "counts_by": "billing_period",
        **inlines(rates=1),
        **{f"rates-0-{name}": value for name, value in {**given, **changes}.items()},
    }


def _publish(version: RateCardVersion, office: Office) -> RateCardVersion:
    return rate_cards.publish(version_id=version.pk, effective_at=office.now, now=office.now)


def test_a_card_is_added_and_drafted(staff: Client, office: Office) -> None:
    assert "was added" in post(staff, "/admin/billing/ratecard/add/", name="Gold", key="gold", is_default="on")
    card = RateCard.objects.get()
    assert "Begin the draft" in text_of(staff, f"/admin/billing/ratecard/{card.pk}/draft/")
    assert "Gold, version 1" in post(staff, f"/admin/billing/ratecard/{card.pk}/draft/")
    assert card.versions.get().number == 1


def test_there_is_one_default_card(staff: Client, office: Office) -> None:
    RateCard.objects.create(key="first", name="First", is_default=True, created_at=office.now)
    page = post(staff, "/admin/billing/ratecard/add/", name="Gold", key="gold", is_default="on")
    assert "rate_card_one_default" in page or "already exists" in page
    assert RateCard.objects.count() == 1


def test_a_new_draft_of_a_card_copies_its_latest_version(staff: Client, office: Office, draft: RateCardVersion) -> None:
    post(staff, f"/admin/billing/ratecard/{draft.rate_card_id}/draft/")
    copy = RateCardVersion.objects.get(number=2)
    assert copy.rates.get().price == Decimal("2.5")


def test_a_draft_is_edited(staff: Client, office: Office, draft: RateCardVersion) -> None:
    assert "was changed" in post(staff, _url(draft), **_rate(office, match='{"model": "gpt-4"}'))
    assert draft.rates.get(price=3).match == {"model": "gpt-4"}


def test_what_a_version_counts_by_is_chosen_shown_and_copied(
    staff: Client, office: Office, draft: RateCardVersion
) -> None:
    sent = {**_rate(office, match='{"a": 1}'), "counts_by": "calendar_month"}
    assert "was changed" in post(staff, _url(draft), **sent)
    page = text_of(staff, _url(draft, "publish"))
    assert page.index("Counts by") < page.index("Calendar month") < page.index("Publish for good")
    post(staff, f"/admin/billing/ratecard/{draft.rate_card_id}/draft/")
    assert set(RateCardVersion.objects.values_list("counts_by", flat=True)) == {"calendar_month"}


def test_tiers_are_kept_as_text(staff: Client, office: Office, draft: RateCardVersion) -> None:
    tiers = '[{"up_to": 1000, "price": 0.1}, {"up_to": null, "price": "0.05"}]'
    post(staff, _url(draft), **_rate(office, match='{"a": 1}', model="graduated", tiers=tiers))
    assert draft.rates.get(model="graduated").tiers == [
        {"up_to": "1000", "price": "0.1"},
        {"up_to": None, "price": "0.05"},
    ]


FAULTY_RATES = [
    ("match", "[1]", "Write property values as JSON"),
    ("match", '{"a": {"b": 1}}', "Write property values as JSON"),
    ("match", "{", "Enter a valid JSON"),
    ("tiers", '[{"price": "1"}]', "Write tiers as JSON"),
    ("tiers", "[5]", "Write tiers as JSON"),
    ("tiers", '[{"up_to": "x", "price": "1"}]', "Write tiers as JSON"),
    ("tiers", '[{"up_to": "NaN", "price": "1"}, {"up_to": null, "price": "1"}]', "Write tiers as JSON"),
    ("tiers", '[{"up_to": "5", "price": "1"}]', "must have no upper bound"),
    ("tiers", '[{"up_to": null, "price": "-1"}]', "zero or more"),
    ("model", "graduated", "needs at least one tier"),
    ("price", "NaN", "Enter a number"),
    ("price", "-1", "rate_numbers_sane"),
    ("unit_size", "0", "rate_numbers_sane"),
    ("meter", "", "This field is required"),
]


def test_a_faulty_rate_is_refused(staff: Client, office: Office, draft: RateCardVersion) -> None:
    faulty = [({f"rates-0-{field}": value}, fault) for field, value, fault in FAULTY_RATES]
    good, one = _rate(office, match='{"a": 1}'), lambda: draft.rates.count() == 1
    assert find_unrefused(staff, _url(draft), good, faulty, unchanged=one) == []


def test_publishing_shows_the_rates_and_asks(staff: Client, office: Office, draft: RateCardVersion) -> None:
    page = text_of(staff, _url(draft, "publish"))
    assert "2.5 per 1,000 image" in page
    assert "cannot be changed any more" in page
    draft.refresh_from_db()
    assert not draft.is_published


def test_a_draft_is_published_for_good(staff: Client, office: Office, draft: RateCardVersion) -> None:
    assert "Version 1 is published" in post(
        staff, _url(draft, "publish"), effective_at_0="2026-01-01", effective_at_1="00:00:00"
    )
    draft.refresh_from_db()
    assert (draft.published_by, draft.effective_at.year if draft.effective_at else 0) == (office.stella, 2026)
    assert staff.post(_url(draft), _rate(office)).status_code == 403
    assert "published already" in post(staff, _url(draft, "publish"), effective_at_0="2026-01-01", effective_at_1="0:0")
    page = text_of(staff, _url(draft))
    assert "Save" not in re.sub("Saved?-", "", page.split('id="content-main"')[1].split("</main>")[0])
    assert "New draft from this" in page


def test_a_time_that_cannot_be_read_publishes_nothing(staff: Client, office: Office, draft: RateCardVersion) -> None:
    for day, hour, fault in (("never", "00:00", "Enter a valid date"), ("2027-01-01", "", "Enter a valid time")):
        assert fault in post(staff, _url(draft, "publish"), effective_at_0=day, effective_at_1=hour)
        draft.refresh_from_db()
        assert not draft.is_published, day


def test_a_later_version_without_a_time_starts_immediately(
    staff: Client, office: Office, draft: RateCardVersion
) -> None:
    second = rate_cards.draft_from(version_id=_publish(draft, office).pk, now=office.now)
    assert "Leave empty to start immediately" in text_of(staff, _url(second, "publish"))
    assert "Version 2 is published" in post(staff, _url(second, "publish"), effective_at_0="", effective_at_1="")
    second.refresh_from_db()
    assert second.effective_at == second.published_at


def test_an_empty_draft_is_not_published(staff: Client, office: Office, draft: RateCardVersion) -> None:
    draft.rates.all().delete()
    page = post(staff, _url(draft, "publish"), effective_at_0="2026-01-01", effective_at_1="00:00")
    assert "needs at least one rate" in page


def test_usage_already_priced_is_not_repriced(staff: Client, office: Office, draft: RateCardVersion) -> None:
    second = rate_cards.draft_from(version_id=_publish(draft, office).pk, now=office.now)
    page = post(staff, _url(second, "publish"), effective_at_0="2020-01-01", effective_at_1="00:00")
    assert "cannot take effect in the past" in page
    second.refresh_from_db()
    assert not second.is_published


def test_a_published_version_leads_to_a_new_draft(staff: Client, office: Office, draft: RateCardVersion) -> None:
    _publish(draft, office)
    assert "Begin the draft" in text_of(staff, _url(draft, "draft"))
    assert "Standard, version 2" in post(staff, _url(draft, "draft"))
    assert RateCardVersion.objects.get(number=2).rates.get().price == Decimal("2.5")


def test_a_draft_is_thrown_away_but_not_a_published_version(
    staff: Client, office: Office, draft: RateCardVersion
) -> None:
    published = _publish(rate_cards.draft_from(version_id=draft.pk, now=office.now), office)
    assert "was deleted" in post(staff, _url(draft, "delete"), post="yes")
    assert staff.post(_url(published, "delete"), {"post": "yes"}).status_code == 403
    assert RateCardVersion.objects.get() == published


def test_a_version_that_does_not_exist_is_404(staff: Client, office: Office) -> None:
    for page in ("ratecardversion/999/publish", "ratecardversion/999/draft", "ratecard/999/draft"):
        assert staff.get(f"/admin/billing/{page}/").status_code == 404, page


def test_staff_without_the_right_can_neither_publish_nor_draft(
    client: Client, office: Office, draft: RateCardVersion
) -> None:
    User.objects.filter(pk=office.alice.pk).update(is_staff=True)
    client.force_login(office.alice)
    for page in (_url(draft, "publish"), _url(draft, "draft"), f"/admin/billing/ratecard/{draft.rate_card_id}/draft/"):
        assert client.post(page).status_code == 404, page
    assert not RateCardVersion.objects.get().is_published


def test_versions_are_listed_with_their_state(staff: Client, office: Office, draft: RateCardVersion) -> None:
    soon = rate_cards.draft_from(version_id=_publish(draft, office).pk, now=office.now)
    rate_cards.publish(version_id=soon.pk, effective_at=office.now + timedelta(days=3), now=office.now)
    rate_cards.draft_from(version_id=soon.pk, now=office.now)
    page = text_of(staff, "/admin/billing/ratecardversion/")
    for state in ("draft", "published", "published, not yet in force"):
        assert f'<td class="field-state">{state}</td>' in page
    assert "3" in text_of(staff, "/admin/billing/ratecard/")


def test_an_account_is_given_a_card_for_a_while(staff: Client, office: Office, draft: RateCardVersion) -> None:
    fields = {
        "account": office.account.pk, "rate_card": draft.rate_card_id, "kind": "contract",
        "starts_at_0": "2026-01-01", "starts_at_1": "00:00", "ends_at_0": "", "ends_at_1": "",
    }  # fmt: skip
    address = "/admin/billing/ratecardassignment/"
    assert "was added" in post(staff, f"{address}add/", **fields)
    assert "rate_card_assignment_no_overlap" in post(staff, f"{address}add/", **fields)
    assignment = RateCardAssignment.objects.get()
    ended = {"ends_at_0": "2026-06-01", "ends_at_1": "00:00", "kind": "plan"}
    assert "was changed" in post(staff, f"{address}{assignment.pk}/change/", **ended)
    assignment.refresh_from_db()
    assert (assignment.kind, assignment.ends_at is not None) == ("contract", True)


SENTENCES = [
    ({"price": "3", "unit_size": "1"}, "3 per 1 image (credits"),
    ({"model": "per_package", "price": "2", "unit_size": "1000"}, "2 per 1,000 image begun"),
    ({"minimum": "5", "price": "1", "match": {"size": "xl"}}, "at least 5 a period where size is xl"),
    (
        {"model": "graduated", "tiers": [{"up_to": "10", "price": "2"}, {"up_to": None, "price": "1"}]},
        "2 up to 10; 1 beyond, per 1 image",
    ),
]


def test_a_rate_reads_as_a_sentence(staff: Client, office: Office, draft: RateCardVersion) -> None:
    for fields, words in SENTENCES:
        draft.rates.all().delete()
        Rate.objects.create(version=draft, meter=office.meter, **fields)
        assert words in text_of(staff, _url(draft, "publish"))
