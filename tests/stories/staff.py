"""What staff do at a browser: set up a shop, grant, refund."""

from tests.stories.looking import Visitor
from tests.stories.running import Florin

PASSWORD = "staff-pass-9182"
FIRST, SECOND = "first@lumen.example", "second@lumen.example"


def hire(florin: Florin) -> None:
    """Two members of staff, made on the command line as the first ones are."""
    for email in (FIRST, SECOND):
        florin.manage("createsuperuser", "--noinput", "--email", email, DJANGO_SUPERUSER_PASSWORD=PASSWORD)


def sign_in(person: Visitor, email: str, password: str = PASSWORD) -> None:
    """Through the login page."""
    page = person.page
    person.goes_to("/login")
    page.fill("[name=login]", email)
    page.fill("[name=password]", password)
    page.click("main form button")
    page.wait_for_url(lambda url: "/login" not in url)


def save(person: Visitor, button: str = "_save", **fields: str) -> str:
    """Fill a form of the admin, send it, and return what it says."""
    for name, value in fields.items():
        person.page.fill(f"[name={name}]", value)
    person.page.click(f"[name={button}]")
    return person.page.inner_text(".messagelist")


def open_shop(person: Visitor) -> None:
    """A meter and a rate card that prices it, published; who invoices, what is taxed, and a pack for sale."""
    page = person.page
    person.goes_to("/admin/billing/meter/add/")
    person.looks("staff-meter")
    assert "added successfully" in save(person, name="Images", key="images", unit="image")
    person.goes_to("/admin/billing/ratecard/add/")
    page.check("[name=is_default]")
    assert "added successfully" in save(person, "_continue", name="Standard", key="standard")
    person.follows(page.get_by_role("link", name="New draft"))
    person.follows(page.get_by_role("button", name="Begin the draft"))
    page.get_by_text("Add another Rate").click()
    page.select_option("[name=rates-0-meter]", label="Images")
    assert "changed successfully" in save(person, "_continue", **{"rates-0-price": "5"})
    person.looks("staff-rate-card-draft")
    person.follows(page.get_by_role("link", name="Publish"))
    person.looks("staff-publish")
    person.follows(page.get_by_role("button", name="Publish for good"))
    assert "is published" in page.inner_text(".messagelist")
    person.goes_to("/admin/billing/issuer/add/")
    issuer = {"name": "Lumen AI", "key": "lumen", "address": "Hafen 1\n20457 Hamburg", "country": "DE"}
    assert "added successfully" in save(person, **issuer)
    person.goes_to("/admin/billing/pack/add/")
    amounts = {"min_credits": "100", "max_credits": "100000", "step_credits": "100", "validity_days": "365"}
    tier = {"tiers-0-from_credits": "100", "tiers-0-unit_price": "0.10"}
    save(person, "_continue", name="Credits", key="credits", currency="EUR", **amounts, **tier)
    person.looks("staff-pack")
    person.follows(page.get_by_role("link", name="Put on sale"))
    person.follows(page.get_by_role("button", name="Put on sale"))
    assert "is on sale" in page.inner_text(".messagelist")
