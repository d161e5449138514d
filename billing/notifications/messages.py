"""What a notification says, once, for every channel: e-mail renders all of a message, the inbox its beginning.

The functions that write messages are in the `about_…` files; which kind is written by which stands in `kinds.py`. They
get an `About`, which turns the facts of the payload into words of the reader:
credits with separators, money with its sign, times in the account's zone, addresses of the portal's pages.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils import dateformat
from django.utils.translation import gettext as _

from billing.accounts import ids
from billing.accounts.models import Account
from billing.notifications.models import Notification
from billing.wording import amounts

MAIN_POOL = "main"


@dataclass(frozen=True, slots=True)
class Link:
    """A page of ours, as a path."""

    label: str
    path: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of the table of figures."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Message:
    """A notification in words. `title` is the subject too; `lead` says all that matters in a sentence or two.

    `tone` is how it looks: `info`, `good`, `warning` or `bad`. `action` is what the reader will most likely do next,
    `further` are other pages that help, `more` paragraphs that only the e-mail shows, `items` a list below them.
    """

    title: str
    lead: str
    tone: str = "info"
    facts: tuple[Fact, ...] = ()
    more: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    action: Link | None = None
    further: tuple[Link, ...] = ()


class About:
    """A notification's facts, as its writer needs them. A fact that is missing raises KeyError.

    There is no present time among them: what a notification says stays true however late it is read."""

    def __init__(self, notification: Notification) -> None:
        self.payload = notification.payload
        self.account: Account | None = notification.account
        self.email = notification.email
        self.zone = ZoneInfo(self.account.time_zone) if self.account else ZoneInfo("UTC")

    def text(self, name: str) -> str:
        """A fact as it is, on one line."""
        return " ".join(str(self.payload[name]).split())

    def amount(self, name: str) -> Decimal:
        return Decimal(str(self.payload[name] or 0))

    def credits(self, name: str) -> str:
        """`12,345.67`."""
        return amounts.credits_text(self.amount(name))

    def money(self, name: str) -> str:
        """`€1,200.00`, in the currency that the payload names."""
        return amounts.money_text(self.amount(name), self.text("currency"))

    def moment(self, name: str) -> datetime:
        """A time in the account's zone."""
        moment = datetime.fromisoformat(str(self.payload[name]))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(self.zone)

    def day(self, name: str) -> str:
        """`1 April 2027`."""
        return dateformat.format(self.moment(name), "j F Y")

    def minute(self, name: str) -> str:
        """`1 April 2027 at 14:30 (Europe/Berlin)`."""
        moment = self.moment(name)
        return _("%(day)s at %(time)s (%(zone)s)") % {
            "day": dateformat.format(moment, "j F Y"),
            "time": dateformat.format(moment, "H:i"),
            "zone": self.zone.key,
        }

    @property
    def account_name(self) -> str:
        return " ".join(self.account.name.split()) if self.account else ""

    def link(self, label: str, page: str, *parts: object) -> Link:
        """A page of the account in the portal; `parts` are what its address has beyond the account."""
        account = ids.encode(ids.ACCOUNT, self.account.pk) if self.account else ""
        return Link(label, reverse(f"portal:{page}", args=[account, *parts]))
