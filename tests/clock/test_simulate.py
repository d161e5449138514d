"""The command simulate."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from billing.accounts.models import Account
from billing.invoicing.models import Invoice
from tests.clock.conftest import START
from tests.factories import give_credits, make_account, make_meter, make_rate_card
from tests.subscriptions.makers import subscribe

pytestmark = pytest.mark.django_db


def simulate(capsys, *args):
    call_command("simulate", *args)
    return capsys.readouterr().out


def test_a_made_up_customer_lives_through_a_story_of_dunning(version, capsys):
    make_rate_card({make_meter(): "1"}, now=START - timedelta(days=1))
    told = simulate(
        capsys, "--from", "2027-01-31", "--to", "2027-02-05", "--plan", version.plan.key, "--usage", "tokens=10",
        "--card", "4000000000000002",
    )  # fmt: skip
    lines = [line.split("  ") for line in told.splitlines() if line.startswith("2027-01-31")]
    assert [line[1].strip() for line in lines][:3] == ["subscribed", "invoice", "payment failed"]
    assert "owed: nothing" in told
    account = Account.objects.get(external_id__startswith="simulated-")
    assert account.clock_at == datetime(2027, 2, 5, tzinfo=UTC)
    assert account.subscriptions.get().state == "ended"


def test_an_accounts_clock_is_moved_on(account, version, capsys):
    subscribe(account, version, now=START)
    told = simulate(capsys, "--account", "acme", "--to", "2027-03-01")
    assert "2027-02-28 00:00  renewed" in told
    assert "29 days in" in told
    account.refresh_from_db()
    assert account.clock_at == datetime(2027, 3, 1, 5, tzinfo=UTC)


def test_an_account_in_real_time_is_put_on_a_clock(version, capsys):
    make_account("fresh", now=START)
    simulate(capsys, "--account", "fresh", "--from", "2027-01-31", "--to", "2027-02-02")
    assert Account.objects.get(external_id="fresh").clock_at == datetime(2027, 2, 2, tzinfo=UTC)


def test_the_whole_database_lives_through_a_time(version, capsys):
    other = make_account("other", now=START)
    subscribe(other, version, now=START)
    told = simulate(capsys, "--from", START.isoformat(), "--to", "2027-03-01")
    assert "Other" in told
    assert Invoice.objects.count() == 2
    other.refresh_from_db()
    assert other.clock_at is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--account", "nobody"], "no account nobody"),
        (["--account", "acme", "--from", "2027-01-31"], "leave --from out"),
        (["--account", "acme", "--to", "2027-01-01"], "must be after"),
        (["--account", "acme", "--plan", "x"], "not both"),
        (["--plan", "nope"], "No plan nope is on sale in USD. Plans: "),
        (["--from", "soon"], "neither a day"),
        (["--plan", "nope", "--usage", "tokens"], "No plan nope"),
        (["--account", "acme", "--usage", "tokens"], "give a meter and a quantity"),
        (["--from", "2027-01-01"], "time cannot begin before that"),
    ],
)
def test_what_makes_no_sense_is_refused(account, args, said, capsys):
    give_credits(make_account("other"), "1", now=START)
    with pytest.raises(CommandError, match=said):
        call_command("simulate", *args)
    account.refresh_from_db()
    assert account.clock_at == START


def test_other_gateways_money_is_not_moved(db, settings, capsys):
    settings.FLORIN_GATEWAY = "stripe"
    with pytest.raises(CommandError, match="sandbox"):
        call_command("simulate", "--to", "2099-01-01")


def test_what_goes_wrong_on_the_way_is_named(account, version, capsys):
    with pytest.raises(CommandError, match="There is no active meter"):
        call_command("simulate", "--account", "acme", "--to", "2027-02-02", "--usage", "nothing=1")
    account.refresh_from_db()
    assert account.test_clock.problem.startswith("UsageRefused")
