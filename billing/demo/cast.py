"""The customers of Lumen AI and their habits. Names and numbers only; what happens to them is in `story`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from billing.ledger.models import CreditPool
from billing.ledger.moves import RolloverRule

PASSWORD = "florin-demo"  # noqa: S105  (known to everybody, like the rest of the demo)
STAFF_EMAIL = "staff@lumen.example"
# A real key's form, but known, so that it can be printed again. Production refuses to be seeded.
API_PREFIX = "f10f10f10f10"
API_SECRET = f"fl_{API_PREFIX}_lumen-ai-demo-key-known-to-everybody-000000"

OFFICE = (0.0, 0.1, 2.2, 2.6, 1.0, 0.1)
EVENING = (0.3, 0.0, 0.3, 1.0, 2.4, 2.0)
NIGHT = (2.4, 1.2, 0.1, 0.2, 0.6, 1.5)
ALWAYS = (1.0,) * 6
WORKDAYS = (1.3, 1.3, 1.3, 1.3, 1.2, 0.3, 0.3)
WEEKENDS = (0.3, 0.3, 0.3, 0.4, 1.2, 2.6, 1.9)
DAILY = (1.0,) * 7


@dataclass(frozen=True, slots=True)
class Habit:
    """When and for what a customer uses Lumen AI.

    `requests_per_day` on an average day at the start, times `growth` per year (compounding); `by_hour` weighs six
    spans of four local hours, `by_weekday` Monday to Sunday, `by_month` months other than ordinary ones. `mix` says
    what a request is: chat, image or gpu. `models` are drawn for chats, `tokens` is the median of their input.
    """

    requests_per_day: float
    by_hour: tuple[float, ...] = OFFICE
    by_weekday: tuple[float, ...] = WORKDAYS
    growth: float = 1.0
    by_month: Mapping[int, float] = field(default_factory=dict)
    mix: Mapping[str, float] = field(default_factory=lambda: {"chat": 1.0})
    models: tuple[str, ...] = ("lumen-mini", "lumen-pro")
    tokens: int = 6_000
    seats: int = 0
    storage_gb: int = 0


@dataclass(frozen=True, slots=True)
class Customer:
    """An account to be: what it is, which plan it subscribes to or what it gets each month by an agreement of old
    (`allocation` credits at `unit_price` money each), and what it buys (`top_up` credits whenever fewer than
    `top_up_below` are available, by hand or by itself). Days count from the year's start.
    """

    key: str
    name: str
    country: str
    time_zone: str
    habit: Habit
    currency: str = "USD"
    tax_number: str = ""
    segment: str = ""
    policy: str = CreditPool.Policy.BLOCK
    burst_limit: int = 0
    overage_cap: int | None = None
    plan: str = ""
    coupon: str = ""
    pays_by_transfer: bool = False
    allocation: int = 0
    unit_price: str = "0.09"
    rollover: RolloverRule | None = None
    top_up: int = 0
    top_up_below: int = 0
    tops_up_by_itself: bool = False
    joined_after_days: int = 0
    left_after_days: int | None = None


CUSTOMERS = (
    Customer(
        "northwind", "Northwind Research", "US", "America/New_York", Habit(5.0, tokens=12_000, seats=6, storage_gb=40),
        allocation=5_000, rollover=RolloverRule(cap=Decimal(2_000), max_periods=2, cumulative_cap=Decimal(3_000)),
        top_up=10_000, top_up_below=400, tops_up_by_itself=True,
    ),
    Customer(
        "brightloop", "Brightloop", "DE", "Europe/Berlin",
        Habit(3.0, growth=5.0, models=("lumen-mini", "lumen-pro", "lumen-max"), seats=9, storage_gb=25),
        currency="EUR", tax_number="DE811907980", segment="growth", plan="team", coupon="LAUNCH50",
        pays_by_transfer=True, top_up=10_000, top_up_below=500,
    ),
    Customer(
        "pixelforge", "Pixel Forge Games", "US", "America/Los_Angeles",
        Habit(5.0, EVENING, WEEKENDS, mix={"chat": 0.2, "image": 0.8}),
        allocation=3_000, top_up=10_000, top_up_below=300,
    ),
    Customer(
        "kitsune", "Kitsune Works", "JP", "Asia/Tokyo", Habit(5.5, NIGHT, DAILY, tokens=15_000),
        currency="JPY", unit_price="13", allocation=6_000, top_up=10_000, top_up_below=600, tops_up_by_itself=True,
    ),
    Customer(
        "harvest", "Harvest & Co", "GB", "Europe/London",
        Habit(3.0, by_month={1: 0.5, 2: 0.6, 9: 1.5, 10: 2.2, 11: 4.0, 12: 4.5}, mix={"chat": 0.7, "image": 0.3}),
        currency="GBP", segment="retail", plan="team", coupon="WELCOME20",
    ),
    Customer(
        "quietriver", "Quiet River Press", "CA", "America/Toronto", Habit(4.0, growth=0.02, tokens=11_000),
        plan="team-yearly", left_after_days=290,
    ),
    Customer(
        "sparkseed", "Sparkseed", "EE", "Europe/Tallinn", Habit(3.5, growth=2.0, by_weekday=DAILY, tokens=9_000),
        currency="EUR", segment="startup", policy=CreditPool.Policy.BURST, burst_limit=1_500, allocation=2_800,
        joined_after_days=60,
    ),
    Customer(
        "meridian", "Meridian Bank", "DE", "Europe/Berlin",
        Habit(11.0, models=("lumen-pro", "lumen-pro", "lumen-mini"), tokens=20_000, seats=24, storage_gb=320),
        currency="EUR", tax_number="DE129274202", segment="enterprise", allocation=25_000, unit_price="0.065",
        rollover=RolloverRule(cap=Decimal(10_000), max_periods=1),
    ),
    Customer(
        "cloudnine", "Cloudnine Studio", "FR", "Europe/Paris", Habit(4.5, growth=1.4, mix={"chat": 0.4, "image": 0.6}),
        currency="EUR", plan="metered",
    ),
    Customer(
        "tidewater", "Tidewater Media", "AU", "Australia/Sydney", Habit(2.5, by_weekday=DAILY, tokens=10_000),
        currency="AUD", allocation=2_500,
    ),
    Customer(
        "atlas", "Atlas Robotics", "CH", "Europe/Zurich",
        Habit(3.0, ALWAYS, DAILY, mix={"chat": 0.3, "gpu": 0.7}, seats=4, storage_gb=90),
        currency="CHF", allocation=3_000, top_up=10_000, top_up_below=1_000, tops_up_by_itself=True,
    ),
    Customer("papaya", "Papaya Notes", "US", "America/Chicago", Habit(0.0), plan="team", joined_after_days=363),
)  # fmt: skip

# Who can log in, beside the owner of every account (owner@<key>.example): the enterprise's team, one of each role.
TEAM_ACCOUNT = "meridian"
TEAM = (
    ("olivia", "Olivia Weber", "owner"),
    ("adam", "Adam Krause", "admin"),
    ("mia", "Mia Vogel", "member"),
    ("jonas", "Jonas Brandt", "member"),
    ("victor", "Victor Lang", "viewer"),
)
# Staff of Lumen AI beside the superuser, one of each role: name and group. They log in as <name>@<the staff's domain>.
STAFF = (("paula", "Paula Price", "Pricing"), ("fiona", "Fiona Finch", "Finance"), ("sam", "Sam Suarez", "Support"))
# Team pools of the enterprise: key, name, and what is moved there each month.
TEAM_POOLS = (("research", "Research", 8_000), ("support", "Support desk", 5_000))
