"""`manage.py simulate`: move time and watch what happens. Exit 0: arrived, 1: something went wrong on the way."""

import sys
import time
from argparse import ArgumentParser
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Max
from django.utils import timezone

from billing.accounts import clocks, ids
from billing.accounts.models import Account
from billing.catalog.periods import first_moment
from billing.clock import advancing, moving, scenes, timeline
from billing.ledger import balance, pools
from billing.ledger.models import Posting
from billing.management.progress import ProgressBar
from billing.payments.gateways.contract import InvalidCard
from billing.payments.models import GatewayName
from billing.wording import amounts

INSTANT = timedelta(microseconds=1)
MIDNIGHT = datetime.min.time()
WHAT_WIDTH = 20


class Command(BaseCommand):
    """Run every job in order, from one due moment to the next, and print what happens.

    With --plan a new customer on a test clock of their own is made up; with --account an existing one is moved, and
    put on a test clock if it is on none; with neither all accounts that are on no test clock live through that time,
    which is for a database that no worker serves.
    """

    help = (
        "Move time through every job, in order, and print what happens: for a made-up customer (--plan), one account"
        " (--account, put on a test clock for good), or the whole database (neither; stop the workers first)."
        " Nobody is mailed unless asked for. For a story of dunning: --plan KEY --card 4000000000001083."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """From when to when, whose time, and what a made-up customer does."""
        parser.add_argument("--from", dest="start", metavar="TIME", help="a day or an RFC 3339 time; default: now")
        parser.add_argument("--to", dest="end", metavar="TIME", help="likewise; default: a year later")
        parser.add_argument("--account", metavar="ID", help="acc_… or external id")
        parser.add_argument("--plan", metavar="KEY", help="make up a customer who subscribes to this plan")
        parser.add_argument("--seats", type=int, default=0, help="of the made-up customer")
        parser.add_argument("--coupon", default="", metavar="CODE", help="of the made-up customer")
        parser.add_argument("--card", default="4242424242424242", metavar="NUMBER", help="a test card; '' for none")
        parser.add_argument("--currency", default="USD", help="of the made-up customer")
        parser.add_argument("--country", default="US", help="of the made-up customer")
        parser.add_argument("--zone", default="UTC", help="time zone of the made-up customer")
        parser.add_argument(
            "--usage", action="append", default=[], metavar="METER=QUANTITY", help="each day; may be repeated"
        )
        parser.add_argument("--mail", action="store_true", help="mail people too (whole database only)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Find whose time it is, move it, and sum up."""
        if options["plan"] and options["account"]:
            raise CommandError("Give --plan or --account, not both.")
        began = time.monotonic()
        account = self._account(options)
        zone = account.time_zone if account else "UTC"
        start = account.clock_at if account and account.clock_at else _moment(options["start"], zone) or timezone.now()
        end = _moment(options["end"], zone) or start + timedelta(days=366)
        if end <= start:
            raise CommandError(f"--to must be after {start.isoformat()}.")
        watch = _Watch(self, account, start, end, usage=_usage(options["usage"]))
        if account is None:
            self._move_all(start, end, watch, with_mails=options["mail"])
        else:
            self._move_one(account, end, watch)
        watch.finish(time.monotonic() - began)

    def _account(self, options: dict[str, Any]) -> Account | None:
        if options["plan"]:
            return self._made_up(options)
        if not options["account"]:
            return None
        name = options["account"]
        own = ids.find(ids.ACCOUNT, name)
        account = Account.objects.filter(**({"external_id": name} if own is None else {"pk": own})).first()
        if account is None:
            raise CommandError(f"There is no account {name}.")
        if account.clock_at is None:
            starts_at = _moment(options["start"], account.time_zone) or timezone.now()
            try:
                advancing.open_clock(account_id=account.pk, starts_at=starts_at, now=timezone.now())
            except advancing.NotSandbox as error:
                raise CommandError("Its payments do not go to the sandbox gateway.") from error
            except advancing.HasInvoices as error:
                raise CommandError("It has invoices or paid credits in the books: use another account.") from error
            except clocks.HasHistory as error:
                raise CommandError("Something happened to it after --from: begin later.") from error
            account.refresh_from_db()
        elif options["start"]:
            raise CommandError(f"Its clock stands at {account.clock_at.isoformat()}: leave --from out.")
        return account

    def _made_up(self, options: dict[str, Any]) -> Account:
        starts_at = _moment(options["start"], options["zone"]) or timezone.now()
        try:
            subscription = scenes.open_scene(
                plan_key=options["plan"],
                seats=options["seats"],
                coupon_code=options["coupon"],
                card_number=options["card"],
                currency=options["currency"],
                country=options["country"],
                time_zone=options["zone"],
                starts_at=starts_at,
                now=timezone.now(),
            )
        except scenes.NoSuchPlan as error:
            keys = ", ".join(scenes.list_plan_keys()) or "none"
            text = f"No plan {error} is on sale in {options['currency']}. Plans: {keys}."
            raise CommandError(text) from error
        except InvalidCard as error:
            raise CommandError(" ".join(error.errors.values())) from error
        return subscription.account

    def _move_one(self, account: Account, end: datetime, watch: "_Watch") -> None:
        try:
            clocks.aim(account_id=account.pk, target_at=end)
        except clocks.ClockMoving as error:
            raise CommandError("Its clock is being moved by somebody else.") from error
        while not advancing.carry_on(account_id=account.pk, seconds=60, read_clock=timezone.now, after=watch.look):
            account.test_clock.refresh_from_db()
            if account.test_clock.problem:
                watch.show()
                raise CommandError(f"stopped at {watch.at.isoformat()}: {account.test_clock.problem}")

    def _move_all(self, start: datetime, end: datetime, watch: "_Watch", *, with_mails: bool) -> None:
        if {settings.FLORIN_GATEWAY, *settings.FLORIN_GATEWAYS.values()} - {"", GatewayName.SANDBOX}:
            raise CommandError("Only the sandbox gateway's money may be moved so: other gateways are configured.")
        last = Posting.objects.filter(pool__account__clock_at=None).aggregate(last=Max("posted_at"))["last"]
        if last is not None and last > start:
            raise CommandError(f"Something happened at {last.isoformat()}: time cannot begin before that.")
        moving.move(start=start, end=end, account_id=None, with_mails=with_mails, after=watch.look)


class _Watch:
    """Prints what happens, moment by moment, in the zone of the account. Where that goes to a file, how far it is goes
    to stderr."""

    def __init__(
        self, command: Command, account: Account | None, start: datetime, end: datetime, *, usage: dict[str, Decimal]
    ) -> None:
        self.at = start
        self._write, self._account, self._usage = command.stdout.write, account, usage
        self._zone = ZoneInfo(account.time_zone if account else "UTC")
        self._start, self._end, self._seen, self._used_on = start, end, start - INSTANT, date.min
        self._counts: Counter[str] = Counter()
        self._bar = None if command.stdout.isatty() else ProgressBar(sys.stderr, total=(end - start).days, unit="days")
        whose = f"{account} ({account.external_id})" if account else "All accounts that are on no test clock"
        self._write(f"{whose}: {self._text(start)} to {self._text(end)}, times in {self._zone.key}.\n")

    def look(self, at: datetime) -> None:
        """Use what is used each day, and print each day what has happened since the last one."""
        # Time stops at each midnight (UTC), and wherever else something is due.
        if self._account is not None and self._usage and at < self._end and at.astimezone(UTC).date() > self._used_on:
            scenes.report_usage(account=self._account, usage=self._usage, at=at)
            self._used_on = at.astimezone(UTC).date()
        self.at = at
        if at >= self._end or at.astimezone(UTC).time() == MIDNIGHT:
            self.show()

    def show(self) -> None:
        """Print what has happened since the last time."""
        at, account_id = self.at, self._account.pk if self._account else None
        for each in timeline.list_events(after=self._seen, until=at, account_id=account_id):
            whose = "" if self._account else f"{each.account[:24]:24}  "
            self._write(f"{self._text(each.at)}  {whose}{each.what:{WHAT_WIDTH}}  {each.details}")
            self._counts[each.what] += 1
        self._seen = at
        if self._bar:
            self._bar.show((at - self._start).days)

    def finish(self, seconds: float) -> None:
        """Print what there was of each, and how the account stands."""
        if self._bar:
            self._bar.finish((self.at - self._start).days)
        counts = ", ".join(f"{count} x {what}" for what, count in sorted(self._counts.items()))
        self._write(f"\n{counts or 'Nothing happened.'}")
        if self._account:
            self._write(self._standing(self._account))
        self._write(f"{(self.at - self._start).days} days in {seconds:.1f} s.")

    def _standing(self, account: Account) -> str:
        subscription = account.subscriptions.select_related("plan_version__plan").order_by("-pk").first()
        pool = pools.get_main_pool(account.pk)
        plan = (
            f"{subscription.plan_version.plan.name}, {subscription.get_state_display()}" if subscription else "no plan"
        )
        left = amounts.exact_credits_text(balance.read(pool_id=pool.pk, now=self.at).available)
        owed: Counter[str] = Counter()
        for invoice in account.invoices.all():
            owed[invoice.currency] += invoice.owed  # type: ignore[assignment]
        debts = (
            ", ".join(amounts.money_text(Decimal(amount), code) for code, amount in owed.items() if amount) or "nothing"
        )
        return f"{plan}; {left} credits left; owed: {debts}."

    def _text(self, at: datetime) -> str:
        return f"{at.astimezone(self._zone):%Y-%m-%d %H:%M}"


def _moment(text: str | None, zone: str) -> datetime | None:
    """A time, or the first moment of a day in the zone."""
    if not text:
        return None
    try:
        if len(text) == len("2027-01-31"):
            return first_moment(date.fromisoformat(text), zone)
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text} is neither a day (2027-01-31) nor a time (2027-01-31T12:00:00Z).") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _usage(asked: list[str]) -> dict[str, Decimal]:
    usage = {}
    for each in asked:
        meter, _, quantity = each.partition("=")
        try:
            usage[meter] = Decimal(quantity)
        except InvalidOperation as error:
            raise CommandError(f"{each}: give a meter and a quantity, as in tokens=5000.") from error
    return usage
