"""Every operation with alice's ids, in addresses and in bodies, asked by mallory's key with a request that would be
taken from alice's. What mallory hears is what she would hear of ids that do not exist.
"""

from collections.abc import Iterable, Mapping

import pytest

from tests.api.asking import Api, everything
from tests.api.operations import PLATFORM_ONLY, Operation, guarded, judge, missing

NOT_FOUND = (404, "not_found")
# What is for sale is shown to all.
CATALOG = {"list_meters", "list_rate_cards", "list_packs", "list_plans", "list_offers"}
# A lone event of a stranger is rejected, and kept among those that were.
OTHERWISE = {"report_events": (422, "unknown_account")}


@pytest.fixture
def about_alice(every_operation: list[Operation]) -> list[Operation]:
    """The operations that say whose they are, in the address or in the body."""
    found = [each for each in guarded(every_operation) if each.ids or each.names_account]
    assert len(found) > 70
    return found


def heard(operations: Iterable[Operation], caller: Api, ids: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """What each operation answers to this caller about these ids."""
    return {operation.name: judge(operation.ask(caller, ids)) for operation in operations}


def test_mallory_cannot_tell_alices_ids_from_ids_that_do_not_exist(about_alice, hers, mallory):
    platform_only = dict.fromkeys(PLATFORM_ONLY, (403, "platform_key_required"))
    expected = {each.name: (OTHERWISE | platform_only).get(each.name, NOT_FOUND) for each in about_alice}
    before = everything()
    for ids in (missing(hers), hers, {**hers, "account": "acme"}):
        assert heard(about_alice, mallory, ids) == expected
    assert everything() == before


def test_what_is_alices_is_not_found_in_mallorys_account(about_alice, hers, mallory, platform):
    """A card, a member or a pool of alice's in an address of mallory's, also asked by the platform."""
    within = [each for each in about_alice if "account" in each.ids and len(each.ids) > 1]
    theirs = [each for each in within if each.name not in PLATFORM_ONLY]
    ids = {**hers, "account": "evil"}
    before = everything()
    found = heard(within, platform, ids)
    assert found == dict.fromkeys(found, NOT_FOUND)
    assert {"remove_payment_method", "update_member", "update_pool", "get_card_setup"} <= found.keys()
    assert heard(theirs, mallory, ids) == dict.fromkeys((each.name for each in theirs), NOT_FOUND)
    assert everything() == before


def test_mallorys_lists_have_nothing_of_alices(about_alice, hers, alice, mallory):
    lists = [each for each in about_alice if each.name.startswith("list_") and each.ids in ([], ["account"])]
    compared, leaking = set(), []
    for operation in lists:
        if operation.name not in CATALOG:
            ours = operation.ask(alice, hers).json()["items"]
            theirs = operation.ask(mallory, {**hers, "account": "evil"}).json()["items"]
            compared |= {operation.name} if ours else set()
            leaking += [(operation.name, item) for item in theirs if item in ours]
    assert leaking == []
    assert len(compared) >= 10
