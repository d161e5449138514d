"""A member's limit counts the month of the member's account, and what the member's open holds reserve."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.accounts.ids import encode
from billing.ledger import holds, pool_acts, pools
from billing.ledger.models import MemberLimit
from billing.metering import checks
from billing.metering.quotes import Asked
from tests.factories import give_credits, make_account, make_member, make_user
from tests.metering.makers import HOUR, NOW, START, all_rows, assert_proven, charge, event, publish, rate, send

D = Decimal


@pytest.fixture
def limited(acme, bob):
    """Bob may spend 100 of acme's 1,000 a month."""
    pools.set_member_limit(member_id=bob.pk, amount=D(100), now=NOW)
    return bob


def place(member, amount, **fields):
    given = {"reference": f"hold:{amount}:{len(fields)}:{MemberLimit.objects.count()}", "now": NOW, **fields}
    pool_id = pools.get_main_pool(member.account_id).pk
    return holds.place(pool_id=pool_id, amount=D(amount), member_id=member.pk, **given)


def ask(member, credits, now=NOW):
    lines = [Asked(credits=D(credits))]
    return checks.check(accounts=["acme"], lines=lines, member=encode("mem", member.pk), now=now)[0].reason


def spend(member, credits, now=NOW):
    return charge(credits=D(credits), meter_key="", member=encode("mem", member.pk), now=now)


def spent(member):
    return MemberLimit.objects.get(member=member).spent


def test_accounts_of_two_zones_in_one_batch_keep_their_own_months(tokens):
    # 31 March 12:00 UTC is 1 April 02:00 on Kiritimati (UTC+14): a new month there, the old one elsewhere.
    publish(rate(tokens))
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    east, west = make_account("east", now=START, time_zone="Pacific/Kiritimati"), make_account("west", now=START)
    members = []
    for account in (east, west):
        give_credits(account, "1000", now=NOW)
        members.append(make_member(account, make_user(account.external_id), now=START))
        pools.set_member_limit(member_id=members[-1].pk, amount=D(100), now=NOW)
        charge(90, account=account.external_id, member=encode("mem", members[-1].pk), now=NOW)
    for order in (members, members[::-1]):  # Whichever account comes first.
        send(*(event(1, account=m.account.external_id, member=encode("mem", m.pk), at=now) for m in order), now=now)
    first_of_month = dict(MemberLimit.objects.values_list("member__account__external_id", "period_starts_at"))
    assert first_of_month == {
        "east": datetime(2026, 3, 31, 10, tzinfo=UTC),  # midnight of 1 April there
        "west": datetime(2026, 3, 1, tzinfo=UTC),
    }
    assert [spent(member) for member in members] == [2, 92]
    assert_proven(now)


def test_a_second_hold_beyond_the_limit_is_refused(limited):
    first = place(limited, 100, reference="first")
    before = all_rows()
    with pytest.raises(pool_acts.SpendLimitReached) as refused:
        place(limited, 100, reference="second")
    assert (refused.value.limit, refused.value.spent) == (100, 100)
    assert all_rows() == before
    holds.capture(hold_id=first.pk, amount=D(100), now=NOW)
    assert spent(limited) == 100
    assert_proven()


def test_holds_within_the_limit_are_all_captured(limited):
    placed = [place(limited, 50, reference=name) for name in ("one", "two")]
    for each in placed:
        holds.capture(hold_id=each.pk, amount=D(50), now=NOW)
    assert spent(limited) == 100


def test_a_capture_beyond_the_hold_asks_for_what_other_holds_leave(limited):
    # 60 and 30 are held of 100: 10 are left, so the 60 may become 70 and no more.
    first = place(limited, 60, reference="first")
    place(limited, 30, reference="second")
    before = all_rows()
    with pytest.raises(pool_acts.SpendLimitReached):
        holds.capture(hold_id=first.pk, amount=D(71), now=NOW)
    assert all_rows() == before
    holds.capture(hold_id=first.pk, amount=D(70), now=NOW)
    assert spent(limited) == 70


def test_a_charge_is_refused_while_a_hold_reserves_the_rest(limited):
    spend(limited, 30)
    placed = place(limited, 70)
    before = all_rows()
    with pytest.raises(pool_acts.SpendLimitReached):
        spend(limited, 1)
    assert all_rows() == before
    assert ask(limited, 1) == "spend_limit"
    holds.release(hold_id=placed.pk, now=NOW)
    assert ask(limited, 70) == ""
    assert ask(limited, 71) == "spend_limit"
    spend(limited, 70)
    assert spent(limited) == 100
    assert_proven()


def test_a_hold_past_its_end_leaves_the_limit_alone(limited):
    place(limited, 100, expires_in_seconds=60)
    end = NOW + timedelta(seconds=60)
    assert ask(limited, 1, now=end - timedelta(seconds=1)) == "spend_limit"
    assert ask(limited, 100, now=end) == ""
    spend(limited, 100, now=end)
    assert spent(limited) == 100


def test_what_of_a_hold_was_captured_counts_once(limited):
    # 100 held, 40 captured, 60 still reserved: 100 in all, so nothing is left, and no more than nothing is missing.
    placed = place(limited, 100)
    holds.capture(hold_id=placed.pk, amount=D(40), now=NOW, final=False)
    assert ask(limited, 1) == "spend_limit"
    holds.capture(hold_id=placed.pk, amount=D(10), now=NOW, reference="last")
    assert ask(limited, 50) == ""
    assert ask(limited, 51) == "spend_limit"


def test_holds_of_another_member_do_not_count(limited, acme):
    carol = make_member(acme, make_user("carol"), now=START)
    place(carol, 500)
    spend(limited, 100)
    assert spent(limited) == 100


def test_a_fact_is_taken_though_a_hold_reserves_the_limit(limited, priced):
    place(limited, 100)
    taken = send(event(30, member=encode("mem", limited.pk)), now=NOW + HOUR / 2)
    assert taken.accepted == 1
    assert spent(limited) == 30
