"""Test accounts: numbers of their own, and no part of any book, figure, queue or report."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib import admin
from django.db.models import ForeignKey, Model, OneToOneField
from django.test import Client

from billing.accounts import clocks
from billing.accounts.models import Account, User
from billing.admin import overview, test_accounts, work
from billing.admin.finance import figures
from billing.catalog.models import RateCardVersion
from billing.clock import advancing, moving
from billing.finance import reports
from billing.insights import queues
from billing.invoicing import verification
from billing.invoicing.models import Invoice, Issuer
from billing.ledger import balance, holds, pools
from billing.ledger.models import Posting
from billing.metering import ingest, rerating
from billing.metering.models import RejectedEvent
from billing.notifications.models import Notification
from billing.payments import transfers
from billing.subscriptions.models import Subscription
from tests.factories import give_credits, make_account, make_issuer, make_meter, make_pack, make_rate_card
from tests.payments.makers import make_card
from tests.purchases.makers import buy, make_rule
from tests.subscriptions.makers import make_team, subscribe

pytestmark = pytest.mark.django_db

D = Decimal
DAY = timedelta(days=1)
# Real time, and two moments of test accounts: one before, one long after.
REAL = datetime(2026, 11, 23, 12, tzinfo=UTC)
PAST, FUTURE = datetime(2026, 1, 20, 9, tzinfo=UTC), datetime(2027, 1, 31, 9, tzinfo=UTC)
DECLINED, WEARS_OUT = "4000000000000002", "4000000000001083"


@pytest.fixture
def shop(db: None) -> None:
    """An issuer, tokens at 1 credit, and a pack."""
    make_issuer(rates={"US": "0"})
    make_rate_card({make_meter(now=PAST - DAY): "1"}, now=PAST - DAY)
    make_pack()


def make_test_account(name: str, starts_at: datetime) -> Account:
    """An account that is opened in real time and put on a clock."""
    account = make_account(name, country="US", now=REAL)
    advancing.open_clock(account_id=account.pk, starts_at=starts_at, now=REAL)
    account.refresh_from_db()
    return account


def use(account: Account, quantity: int, *, at: datetime) -> None:
    event = {"id": f"{account}:{at}:{quantity}", "account": account.external_id, "meter": "tokens"}
    done = ingest.take_events_in_their_time(
        events=[{**event, "quantity": quantity, "occurred_at": at.isoformat()}], now=REAL
    )
    assert done.accepted == 1, done.results


def test_a_clock_that_starts_in_the_past_dates_everything_so(shop):
    account = make_test_account("past", PAST)
    pool = pools.get_main_pool(account.pk)
    january = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert (pool.cycle_starts_at, pool.cycle_ends_at) == january
    assert account.created_at == pool.created_at == PAST
    give_credits(account, "100", now=PAST)
    use(account, 80, at=PAST)
    assert set(Posting.objects.values_list("posted_at", flat=True)) == {PAST}
    # 80 % are past the first threshold, and told of in the account's own time.
    told = Notification.objects.get(kind="threshold")
    assert (told.payload["threshold"], told.created_at) == (75, PAST)
    assert balance.read(pool_id=pool.pk, now=PAST - DAY).available == 0
    assert balance.read(pool_id=pool.pk, now=PAST).available == 20
    clocks.aim(account_id=account.pk, target_at=PAST + 20 * DAY)
    assert advancing.carry_on(account_id=account.pk, seconds=60, read_clock=lambda: REAL)
    use(account, 1, at=PAST + 20 * DAY)
    pool.refresh_from_db()
    assert (pool.cycle_starts_at, pool.cycle_spent) == (january[1], 1)


def test_a_test_account_draws_numbers_of_its_own(shop):
    real, version = make_account("real", country="US", now=REAL), make_team()
    test, later = make_test_account("test", FUTURE), make_test_account("later", FUTURE)
    for account, now in ((real, REAL), (test, FUTURE), (later, FUTURE)):
        subscribe(account, version, now=now)
    numbers = Invoice.objects.order_by("pk").values_list("number", flat=True)
    assert list(numbers) == ["INV-000001", "TESTINV-000001", "TESTINV-000002"]
    issuer = Issuer.objects.get(is_test=True)
    assert (issuer.name, issuer.iban, issuer.is_default) == ("Lumen GmbH (test)", "", False)
    Issuer.objects.filter(is_default=True).update(name="Lumen AG", email="billing@lumen.example", iban="")
    moving.move(start=FUTURE, end=FUTURE + 40 * DAY, account_id=test.pk)
    assert Invoice.objects.latest("pk").seller["name"] == "Lumen AG (test)"
    assert verification.verify().findings == []


def live_through_everything(name: str, starts_at: datetime) -> Account:
    """An account with purchases, a plan, usage, declined cards, holds and whatever else waits for somebody."""
    account = make_test_account(name, starts_at)
    pool = pools.get_main_pool(account.pk)
    good = make_card(account, now=starts_at, make_default=True)
    buy(pool, make_pack(f"pack-{name}"), method_id=good.pk, now=starts_at)
    use(account, 7, at=starts_at)
    give_credits(account, "50", now=starts_at, cost_basis=D("0.1"), expires_at=starts_at + DAY)
    make_rule(
        pool,
        make_pack(f"topup-{name}"),
        threshold=D(900),
        method_id=make_card(account, DECLINED, now=starts_at).pk,
        now=starts_at,
    )
    subscribe(
        account,
        make_team(key=f"plan-{name}", trial_days=0),
        now=starts_at,
        collection="automatic",
        method_id=make_card(account, WEARS_OUT, now=starts_at).pk,
    )
    holds.place(pool_id=pool.pk, amount=D(5), reference="h", expires_in_seconds=60, now=starts_at)
    moving.move(start=starts_at, end=starts_at + 100 * DAY, account_id=account.pk)
    Account.objects.filter(pk=account.pk).update(parked_at=starts_at, clock_at=starts_at + 100 * DAY)
    Subscription.objects.filter(account=account).update(parked_at=starts_at)
    RejectedEvent.objects.create(
        account=account, body="{}", code="unknown_meter", detail="x", received_at=starts_at, digest=name.encode()
    )
    return account


def books_of(user: User) -> dict[str, object]:
    """All that staff and monitoring are told of customers."""
    report = reports.read(starts_on=datetime(2026, 1, 1, tzinfo=UTC).date(), until=REAL + DAY)
    assert [check for check in report.checks if not check.holds] == []
    return {
        "whole": report.is_whole,
        **{name: [columns, list(map(list, rows))] for name, (columns, rows) in reports.files(report).items()},
        "figures": figures.read(now=REAL),
        "overview": overview.list_figures(),
        "queues": [(queue.name, queue.count, queue.oldest_at) for queue in work.list_queues(user=user, now=REAL)],
        "rerated": rerating.compare(version_id=RateCardVersion.objects.get().pk, account_id=None, now=REAL + 30 * DAY),
        "delays": queues.measure_delays(now=REAL + 999 * DAY),
        "stuck": queues.count_stuck(),
    }


def test_no_book_figure_queue_or_report_has_anything_of_test_accounts(shop, client: Client):
    staff = User.objects.create_superuser("stella@example.com", "florin")
    real = make_account("real", country="US", now=PAST)
    buy(pools.get_main_pool(real.pk), make_pack("real"), now=PAST)
    subscribe(real, make_team(key="real"), now=REAL - DAY)
    use(real, 11, at=REAL)
    before = books_of(staff)
    assert before["rerated"].lines[0].quantity == 11
    assert before["whole"]
    assert len(before["proof"][1]) > 20
    accounts = [live_through_everything("past", PAST), live_through_everything("future", FUTURE)]
    use(make_test_account("now", REAL), 5, at=REAL)
    assert Invoice.objects.filter(account__in=accounts).count() > 6
    assert books_of(staff) == before
    client.force_login(staff)
    for page in ("", "work/", "figures/", "finance/"):
        assert client.get(f"/admin/{page}").status_code == 200, page


def test_the_report_of_test_accounts_has_nothing_else_and_its_proof_holds(shop):
    real = make_account("real", country="US", now=PAST)
    buy(pools.get_main_pool(real.pk), make_pack("real"), now=PAST)
    account = live_through_everything("past", PAST)
    report = reports.read(starts_on=PAST.date(), until=REAL, tests=True)
    assert report.is_whole
    assert [check for check in report.checks if not check.holds] == []
    assert len(report.checks) > 20
    numbers = Invoice.objects.filter(account=account, issued_at__isnull=False).values_list("number", flat=True)
    assert {document.name for document in report.documents if document.kind == "invoice"} == set(numbers)


def test_what_is_in_the_books_stays_there(shop):
    sold, given = make_account("sold", now=REAL), make_account("given", now=REAL)
    subscribe(sold, make_team(), now=REAL)
    give_credits(given, "5", now=REAL, cost_basis=D("0.1"))
    for account in (sold, given):
        with pytest.raises(advancing.HasInvoices):
            advancing.open_clock(account_id=account.pk, starts_at=FUTURE, now=REAL)
    assert not Account.objects.exclude(clock_at=None).exists()


def test_a_bank_transfer_pays_no_invoice_of_a_test_account(shop):
    subscribe(make_test_account("test", FUTURE), make_team(), now=FUTURE)
    invoice = Invoice.objects.get()
    transfer, _ = transfers.record(
        reference="t", received_on=REAL.date(), amount=invoice.total, currency="USD", payer="Test", payer_account="",
        remittance=f"{invoice.number} INV-000001", actor="", now=REAL,
    )  # fmt: skip
    assert transfers.match_by_itself(transfer_id=transfer.pk, now=REAL) == []
    assert (transfers.suggest(transfer), transfers.find_open_invoice(str(invoice.number))) == ([], None)
    with pytest.raises(transfers.NothingOwed):
        transfers.match(transfer_id=transfer.pk, invoice_id=invoice.pk, key="k", now=REAL)


def roads_to_accounts(model: type[Model], depth: int = 3) -> Iterator[str]:
    """The foreign keys from a table to an account, one after the other, over at most so many tables."""
    for field in model._meta.fields:
        if not isinstance(field, ForeignKey | OneToOneField) or not depth:
            continue
        if field.related_model is Account:
            yield field.name
        elif field.related_model is not User:
            yield from (f"{field.name}__{rest}" for rest in roads_to_accounts(field.related_model, depth - 1))


# Lists of what is nobody's in particular, or that are opened from a row of a list that can be narrowed.
NOT_NARROWED = {"ledgerentry", "subscriptionchange", "testclock"}


def test_every_list_of_rows_of_accounts_can_be_narrowed_to_customers(rf):
    request, checked = rf.get("/"), set()
    request.user = User.objects.create_superuser("stella@example.com", "florin")
    for model, page in admin.site._registry.items():
        if model._meta.app_label != "billing" or not (model is Account or any(roads_to_accounts(model))):
            continue
        name = model._meta.model_name
        road = test_accounts.road_of(model)
        assert (road is not None) or name in NOT_NARROWED, name
        if road is not None and hasattr(page, "changelist_view"):
            assert test_accounts.Whose in page.get_list_filter(request), name
            test_accounts.without(model._default_manager.all()).exists()
            checked.add(name)
    assert len(checked) > 20
