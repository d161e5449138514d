"""The demo's customers as they have become: their accounts and people, and what they do all the time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from billing.accounts.models import Account, User
from billing.demo import buying
from billing.demo.cast import Customer
from billing.demo.catalog import Catalog
from billing.demo.usage import Event, Reporter
from billing.metering import ingest

# A moment and what happens then: the act is called with `now`.
Scene = tuple[datetime, Callable[..., None]]


@dataclass(slots=True)
class Party:
    """A customer who has an account: its main pool, its usage, its owner, its top-up rule."""

    customer: Customer
    account: Account
    pool_id: int
    reporter: Reporter
    owner_id: int
    rule_id: int | None = None


@dataclass(slots=True)
class Story:
    """What has happened so far. `people` are users by e-mail address, `api_key_id` is Lumen AI's own key,
    `staff_actor` its staff as the ledger writes them down."""

    since: datetime
    until: datetime
    seed: int
    catalog: Catalog
    api_key_id: int
    staff_actor: str
    password_hash: str
    parties: dict[str, Party] = field(default_factory=dict)
    people: dict[str, User] = field(default_factory=dict)

    def main_pool(self, key: str) -> int:
        return self.parties[key].pool_id

    def report(self, party: Party, now: datetime) -> None:
        """Let one customer's applications report what they have used up to now."""
        report_usage(self, [party], now=now)


def report_usage(story: Story, parties: Iterable[Party], *, now: datetime) -> None:
    """Let the customers' applications report in one batch; who has run low buys a pack."""
    reporting = list(parties)
    events: list[Event] = [event for party in reporting for event in party.reporter.report(now)]
    if not events:
        return
    done = ingest.take_events(
        events=events, now=now, api_key_id=story.api_key_id, door="demo", actor=f"key:{story.api_key_id}"
    )
    for party in reporting:
        available = done.balances.get(party.customer.key)
        if available is not None and available < party.customer.top_up_below:
            run_low(party, now=now)


def run_low(party: Party, *, now: datetime) -> None:
    """Who has run low buys a pack, or has a rule that does."""
    if party.rule_id is not None:
        buying.top_up(party.rule_id, now=now)
    else:
        buy_pack(party, Decimal(party.customer.top_up), now=now)


def buy_pack(party: Party, credits: Decimal, *, now: datetime) -> None:
    """Credits of a pack, bought by the account's owner."""
    buying.buy(party.account, credits, buyer_id=party.owner_id, now=now)
