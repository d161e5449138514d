"""Staff pages of packs: draft, sale, retirement."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from billing.accounts.models import StaffAct
from billing.catalog import packs
from billing.catalog.pack_models import Pack, PackTier
from tests.admin.conftest import Office, inlines, post, text_of
from tests.admin.test_approvals import _staff
from tests.admin.test_catalog import PACK, _tiers
from tests.factories import make_pack


def _url(pack: Pack, page: str) -> str:
    return f"/admin/billing/pack/{pack.pk}/{page}/"


@pytest.fixture
def draft(staff: Client, office: Office) -> Pack:
    post(staff, "/admin/billing/pack/add/", **PACK, **_tiers(("10000", "0.10"), ("100000", "0.07")))
    return Pack.objects.get()


def test_a_pack_begins_as_a_draft_that_nobody_can_buy(staff: Client, draft: Pack) -> None:
    assert (draft.state, draft.is_active) == ("draft", False)
    page = text_of(staff, _url(draft, "change"))
    assert _url(draft, "publish") in page
    assert 'name="min_credits"' in page


def test_a_new_pack_is_called_a_draft_before_and_after_it_is_saved(staff: Client, office: Office) -> None:
    page = text_of(staff, "/admin/billing/pack/add/")
    assert "draft: put it on sale once it is saved" in page
    assert "on sale<" not in page
    saved = post(staff, "/admin/billing/pack/add/", **PACK, **_tiers(("10000", "0.10")))
    assert "is saved as a draft." in saved
    assert _url(Pack.objects.get(), "publish") in saved


def test_going_on_sale_is_confirmed_and_fixes_amounts_and_prices(staff: Client, draft: Pack) -> None:
    page = text_of(staff, _url(draft, "publish"))
    assert "0.1 from 10,000, 0.07 from 100,000" in page
    assert "cannot be changed afterwards" in page
    assert "is on sale" in post(staff, _url(draft, "publish"))
    draft.refresh_from_db()
    assert draft.state == "on sale"
    page = text_of(staff, _url(draft, "change"))
    assert 'name="min_credits"' not in page
    tier = draft.tiers.first()
    assert tier is not None
    forged = {**PACK, "name": "Renamed", "min_credits": "1", **inlines(tiers=1), "tiers-INITIAL_FORMS": 1}
    post(staff, _url(draft, "change"), **forged, **{"tiers-0-id": tier.pk, "tiers-0-unit_price": "0"})
    draft.refresh_from_db()
    assert (draft.name, draft.min_credits) == ("Renamed", Decimal(10_000))
    assert draft.tiers.first().unit_price == tier.unit_price  # type: ignore[union-attr]
    assert [act.act for act in StaffAct.objects.order_by("pk")] == ["add", "publish", "change"]


def test_a_pack_is_published_once(staff: Client, draft: Pack) -> None:
    post(staff, _url(draft, "publish"))
    assert "no draft any more" in post(staff, _url(draft, "publish"))
    assert StaffAct.objects.filter(act="publish").count() == 1


def test_a_draft_whose_smallest_amount_has_no_price_is_not_sold(staff: Client, draft: Pack) -> None:
    PackTier.objects.filter(from_credits=10_000).delete()
    assert "has no price" in post(staff, _url(draft, "publish"))
    PackTier.objects.all().delete()
    with pytest.raises(packs.NotPublishable):
        packs.publish(pack_id=draft.pk)
    draft.refresh_from_db()
    assert not draft.is_active


def test_retirement_is_confirmed_and_for_good(staff: Client, office: Office) -> None:
    pack = make_pack(now=office.now)
    assert "Top-up rules that buy it" in text_of(staff, _url(pack, "retire"))
    assert "is retired" in post(staff, _url(pack, "retire"))
    pack.refresh_from_db()
    assert (pack.state, pack.is_active, pack.retired_at is not None) == ("retired", False, True)
    assert "not on sale" in post(staff, _url(pack, "retire"))
    assert "no draft any more" in post(staff, _url(pack, "publish"))
    with pytest.raises(IntegrityError), transaction.atomic():
        Pack.objects.filter(pk=pack.pk).update(is_active=True)
    assert [act.act for act in StaffAct.objects.all()] == ["retire"]


def test_a_new_draft_is_made_from_an_old_pack(staff: Client, office: Office) -> None:
    pack = make_pack(now=office.now)
    assert 'value="credits-2"' in text_of(staff, _url(pack, "draft"))
    assert "Another pack has this key" in post(staff, _url(pack, "draft"), key="credits")
    assert "lower-case letters" in post(staff, _url(pack, "draft"), key="No Good")
    post(staff, _url(pack, "draft"), key="credits-2")
    copy = Pack.objects.get(key="credits-2")
    assert copy.state == "draft"
    prices = [list(each.tiers.values_list("from_credits", "unit_price")) for each in (pack, copy)]
    assert prices[0] == prices[1]
    assert StaffAct.objects.get().after["from"] == "credits"


def test_packs_are_listed_by_state(staff: Client, office: Office, draft: Pack) -> None:
    make_pack(now=office.now)
    for state, count in (("draft", 1), ("sale", 1), ("retired", 0)):
        response = staff.get("/admin/billing/pack/", {"state": state})
        assert response.context["cl"].result_count == count


def test_who_may_not_change_packs_is_refused(client: Client, office: Office) -> None:
    pack, pages = make_pack(now=office.now), ("publish", "retire", "draft")
    client.force_login(_staff("sam", "view_pack"))
    for page in pages:
        answers = (client.get(_url(pack, page)).status_code, client.post(_url(pack, page), {"key": "x"}).status_code)
        assert answers == (403, 403), page
    client.force_login(office.stella)
    for page in pages:
        assert client.get(f"/admin/billing/pack/0/{page}/").status_code == 404, page
    assert Pack.objects.get().is_active


def test_going_on_sale_fixes_whether_prices_include_tax(staff: Client, office: Office) -> None:
    tiers = _tiers(("10000", "0.119"))
    post(staff, "/admin/billing/pack/add/", **PACK, **tiers, prices_include_tax="on")
    pack = Pack.objects.get()
    assert pack.prices_include_tax
    assert "tax included" in text_of(staff, _url(pack, "publish"))
    post(staff, _url(pack, "publish"))
    post(staff, _url(pack, "change"), **PACK, **inlines(tiers=0))
    pack.refresh_from_db()
    assert pack.prices_include_tax
