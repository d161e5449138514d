"""`manage.py seed_demo`: a year of a fictional AI company, lived through the real services."""

import hashlib
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone
from psycopg import sql

from billing.accounts import addresses, keys, roles
from billing.accounts.models import Account, ApiKey, Scope, User
from billing.demo import cast
from billing.demo.catalog import make_catalog, make_issuer
from billing.demo.incidents import special_scenes
from billing.demo.parties import Story
from billing.demo.plans import make_plans
from billing.demo.story import close, scenes_of_the_year
from billing.ledger.models import Posting
from billing.management.turns import one_at_a_time
from billing.metering.models import UsageEvent

REPORT_SECONDS = 5
# Any number will do, as long as nothing else in this database takes the same advisory lock.
SEEDING_LOCK = 7_061_985

# The demo's data can be made again, so no commit waits for the disk. And tables that grow from nothing within seconds
# have no statistics, so plans must look at how large they have become.
_QUICK = {"synchronous_commit": "off", "plan_cache_mode": "force_custom_plan"}


class Interrupted(CommandError):
    """The database holds part of the demo data: an earlier seeding did not finish."""


class Command(BaseCommand):
    """Fill an empty database with demo data and print its logins; on demo data, only print them again.

    The same --seed, --days and --until give the same data; of two concurrent runs one seeds. Each act is committed by
    itself, without waiting for the disk: in one long transaction PostgreSQL could not clean up after its thousands of
    updates. So a killed seeding leaves part of its data, which the next one refuses with Interrupted. Refuses in
    production, because its passwords are known, and on a database that has accounts of its own.
    """

    help = "Fill an empty database with a year of demo data, and print the logins. Safe to run again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to vary."""
        parser.add_argument("--seed", type=int, default=1, help="another number tells another story (default 1)")
        parser.add_argument("--days", type=int, default=365, help="how long the story is (default 365)")
        parser.add_argument("--until", type=_moment, help="when it ends, RFC 3339 with offset (default: now)")

    def handle(self, *args: Any, **options: Any) -> str:
        """Seed unless it has been done; returns what to tell the user."""
        if settings.PRODUCTION:
            raise CommandError("Demo data has known passwords and an API key known to everybody: not in production.")
        started = time.monotonic()
        with one_at_a_time(connection, SEEDING_LOCK):
            if ApiKey.objects.filter(prefix=cast.API_PREFIX).exists():
                self.say("Demo data is there already.")
                return logins()
            if User.objects.filter(email=cast.STAFF_EMAIL).exists():
                raise Interrupted("An earlier seeding did not finish. Seed an empty database.")
            if Account.objects.exists():
                raise CommandError("This database has accounts of its own; demo data needs an empty one.")
            with _settings(_QUICK):
                self.play(seed=options["seed"], days=options["days"], until=options["until"] or timezone.now())
        self.say(
            f"{Account.objects.count()} accounts, {UsageEvent.objects.count():,} events and "
            f"{Posting.objects.count():,} postings in {time.monotonic() - started:.0f} s."
        )
        return logins()

    def play(self, *, seed: int, days: int, until: datetime) -> None:
        """Play the story, scene by scene."""
        told_at = time.monotonic()
        story = begin(seed=seed, since=until - timedelta(days=days), until=until)
        for at, act in sorted([*scenes_of_the_year(story), *special_scenes(story)], key=lambda scene: scene[0]):
            act(now=at)
            if time.monotonic() - told_at > REPORT_SECONDS:
                told_at = time.monotonic()
                self.say(f"  {at:%B %Y} ({(at - story.since) / (until - story.since):.0%})")
        close(story)
        finish(story)

    def say(self, message: str) -> None:
        """Progress, in plain colour."""
        self.stderr.write(message, str)


def begin(*, seed: int, since: datetime, until: datetime) -> Story:
    """Lumen AI itself: its price list, its staff user and its key."""
    password_hash = make_password(cast.PASSWORD, salt="florindemo")
    staff = User.objects.create(
        email=cast.STAFF_EMAIL, name="Sasha Lumen", password=password_hash, is_staff=True, is_superuser=True
    )
    roles.ensure()
    for name, full_name, group in cast.STAFF:
        colleague = User.objects.create(email=staff_email(name), name=full_name, password=password_hash, is_staff=True)
        colleague.groups.set(Group.objects.filter(name=group))
    User.objects.update(created_at=since)
    for person in User.objects.order_by("pk"):
        addresses.trust(person)
    key, _ = keys.issue(name="Lumen AI gateway", scopes=Scope.values, created_by=staff, now=since)
    make_issuer(on=until.date())
    make_plans(now=since)
    return Story(
        since=since,
        until=until,
        seed=seed,
        catalog=make_catalog(now=since),
        api_key_id=key.pk,
        staff_actor=f"user:{staff.pk}",
        password_hash=password_hash,
    )


def finish(story: Story) -> None:
    """Give Lumen AI's key its published secret. Done last: the key marks the demo data as complete."""
    digest = hashlib.sha256(cast.API_SECRET.encode()).digest()
    ApiKey.objects.filter(pk=story.api_key_id).update(prefix=cast.API_PREFIX, digest=digest)


def staff_email(name: str) -> str:
    """The address of a colleague."""
    return f"{name}@{cast.STAFF_EMAIL.split('@')[1]}"


def logins() -> str:
    """Who can log in, and a line to paste."""
    team = [f"  {role:7} {name}@{cast.TEAM_ACCOUNT}.example" for name, _, role in cast.TEAM if name != "jonas"]
    others = [customer.key for customer in cast.CUSTOMERS if customer.key != cast.TEAM_ACCOUNT]
    return "\n".join(
        [
            f"Password of everybody: {cast.PASSWORD}",
            f"  staff   {cast.STAFF_EMAIL}",
            *(f"  staff   {staff_email(name)} ({group})" for name, _, group in cast.STAFF),
            *team,
            "  owner   owner@<account>.example, with one of these for <account>:",
            f"          {', '.join(others[:6])},",
            f"          {', '.join(others[6:])}",
            "",
            f"API key: {cast.API_SECRET}",
            f"curl -H 'Authorization: Bearer {cast.API_SECRET}' "
            f"{settings.FLORIN_PUBLIC_URL}/api/v1/accounts/northwind/balance",
        ]
    )


@contextmanager
def _settings(values: Mapping[str, str]) -> Iterator[None]:
    """Use these settings of PostgreSQL for the session, and go back to its defaults unless the block fails."""
    with connection.cursor() as cursor:
        for name, value in values.items():
            cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
    yield
    with connection.cursor() as cursor:
        for name in values:
            cursor.execute(sql.SQL("RESET {}").format(sql.Identifier(name)))


def _moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a moment needs an offset")
    return at.astimezone(UTC)
