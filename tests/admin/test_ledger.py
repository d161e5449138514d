"""Staff pages of pools, postings, holds and seals."""

from decimal import Decimal

import pytest
from django.test import Client

from billing.ledger import holds, pools, sealing
from billing.ledger.models import CreditPool, LedgerSeal
from tests.admin.conftest import Office, find_unrefused, post, text_of

POLICY = {"policy": "burst", "burst_limit": "500", "overage_cap": ""}


def test_a_team_pool_is_opened(staff: Client, office: Office) -> None:
    fields = {"account": office.account.pk, "key": "research", "name": "Research", **POLICY}
    assert "The policy of Research" in post(staff, "/admin/billing/creditpool/add/", **fields)
    pool = CreditPool.objects.get(key="research")
    assert (pool.kind, pool.policy, pool.burst_limit) == ("team", "burst", Decimal(500))
    assert "already exists" in post(staff, "/admin/billing/creditpool/add/", **fields)


def test_a_pool_key_taken_meanwhile_is_a_message(
    staff: Client, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CreditPool, "validate_constraints", lambda *args, **kwargs: None)
    fields = {"account": office.account.pk, "key": "main", "name": "Again", **POLICY}
    assert "has a pool of this key already" in post(staff, "/admin/billing/creditpool/add/", **fields)
    assert CreditPool.objects.count() == 1


def test_a_policy_is_set_and_figures_are_not(staff: Client, office: Office) -> None:
    address = f"/admin/billing/creditpool/{office.pool.pk}/change/"
    forged = {"balance": "999999", "overdraft": "5", "name": "Hacked", "key": "hacked", "cycle_spent": "0"}
    assert "was changed" in post(staff, address, **POLICY, **forged)
    office.pool.refresh_from_db()
    assert (office.pool.policy, office.pool.burst_limit) == ("burst", Decimal(500))
    assert (office.pool.balance, office.pool.name, office.pool.cycle_spent) == (Decimal(900), "Main pool", Decimal(100))


FAULTY_POLICIES = [
    ({"policy": "free"}, "not one of the available choices"),
    ({"burst_limit": "-1"}, "errorlist"),
    ({"burst_limit": "NaN"}, "Enter a number"),
    ({"overage_cap": "-1"}, "errorlist"),
]


def test_a_faulty_policy_is_refused(staff: Client, office: Office) -> None:
    def unchanged() -> bool:
        office.pool.refresh_from_db()
        return office.pool.policy == "block"

    address = f"/admin/billing/creditpool/{office.pool.pk}/change/"
    assert find_unrefused(staff, address, POLICY, FAULTY_POLICIES, unchanged=unchanged) == []


def test_a_pool_shows_what_is_available(staff: Client, office: Office) -> None:
    page = text_of(staff, f"/admin/billing/creditpool/{office.pool.pk}/change/")
    assert "900 credits" in page
    assert "Main pool of Northwind" in page
    assert f"/admin/billing/posting/?pool={office.pool.pk}" in page


def test_a_posting_shows_its_lines(staff: Client, office: Office) -> None:
    page = text_of(staff, f"/admin/billing/posting/{office.spend.pk}/change/")
    assert "\N{MINUS SIGN}100" in page
    assert f"/admin/billing/creditgrant/{office.lot.pk}/change/" in page
    assert "key:1" in page


def test_postings_are_found_by_their_whole_reference(staff: Client, office: Office) -> None:
    for query, found in (("usage:1", "1 posting"), ("usage", "0 postings"), ("nope", "0 postings")):
        assert found in text_of(staff, f"/admin/billing/posting/?q={query}"), query


def test_a_hold_shows_the_lots_it_reserves(staff: Client, office: Office) -> None:
    hold = holds.place(pool_id=office.pool.pk, amount=Decimal(30), reference="job", now=office.now)
    page = text_of(staff, f"/admin/billing/hold/{hold.pk}/change/")
    assert "bonus of 1000" in page
    assert "1 hold" in text_of(staff, "/admin/billing/hold/?state__exact=open")


def test_a_seal_shows_its_digest_and_ranges(staff: Client, office: Office) -> None:
    pools.open_pool(account=office.account, key="quiet", name="Quiet", now=office.now)
    sealing.seal(now=office.now)
    seal = LedgerSeal.objects.latest("pk")
    page = text_of(staff, f"/admin/billing/ledgerseal/{seal.pk}/change/")
    assert bytes(seal.digest).hex() in page
    assert "Main pool" in page
