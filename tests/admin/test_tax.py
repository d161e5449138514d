"""Staff pages of tax: rates, certificates, tax numbers, calculations."""

from datetime import date, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts.models import StaffAct, User
from billing.invoicing import issuing, tax_numbers
from billing.invoicing.models import Issuer
from billing.invoicing.tax_models import TaxCalculation, TaxExemption, TaxNumberCheck, TaxRate
from tests.admin.conftest import MAX_QUERIES, Office, find_unrefused, post, text_of
from tests.factories import make_account, make_issuer
from tests.invoicing.makers import plain_line

RATE = {
    "country": "DE", "region": "", "category": "standard", "name": "VAT", "percent": "19",
    "valid_from": "2021-01-01", "valid_to": "",
}  # fmt: skip
CERTIFICATE = {
    "country": "DE", "region": "", "number": "EX-7", "note": "Charity", "valid_from": "2021-01-01", "valid_to": "",
}  # fmt: skip
B = "/admin/billing"


def test_a_tax_rate_is_added_and_ended_and_keeps_what_it_said(staff: Client) -> None:
    assert "was added" in post(staff, "/admin/billing/taxrate/add/", **RATE)
    rate = TaxRate.objects.get()
    address = f"/admin/billing/taxrate/{rate.pk}/change/"
    assert "was changed" in post(staff, address, **{**RATE, "percent": "5", "valid_to": "2027-01-01"})
    rate.refresh_from_db()
    assert (rate.percent, rate.valid_to) == (19, date(2027, 1, 1))
    assert "must end after it begins" in post(staff, address, **{**RATE, "valid_to": "2021-01-01"})
    assert "was added" in post(staff, "/admin/billing/taxrate/add/", **{**RATE, "valid_from": "2027-01-01"})


FAULTY_RATES = [
    ({"valid_from": "2026-01-01"}, "Another rate of this place and category is in force"),
    ({"percent": "101", "country": "FR"}, "A rate is from 0 to 100 percent"),
    ({"percent": "NaN", "country": "FR"}, "Enter a number"),
    ({"valid_to": "2020-01-01", "country": "FR"}, "must end after it begins"),
    ({"country": "Germany"}, "at most 2 characters"),
    ({"country": "UK"}, "ISO 3166-1"),
]


def test_a_faulty_tax_rate_is_refused(staff: Client) -> None:
    add, one = "/admin/billing/taxrate/add/", lambda: TaxRate.objects.count() == 1
    post(staff, add, **RATE)
    assert find_unrefused(staff, add, RATE, FAULTY_RATES, unchanged=one) == []


@pytest.mark.parametrize(("days", "left"), [(-1, 1), (1, 1), (2, 0)])
def test_a_rate_is_deleted_only_before_it_begins_anywhere_on_earth(staff: Client, days: int, left: int) -> None:
    begins_on = timezone.now().date() + timedelta(days=days)
    rate = TaxRate.objects.create(country="FR", percent=20, valid_from=begins_on)
    staff.post(f"{B}/taxrate/{rate.pk}/delete/", {"post": "yes"})
    assert TaxRate.objects.count() == left
    assert StaffAct.objects.filter(model="taxrate", act="delete").count() == 1 - left


def test_where_a_rate_comes_from_is_shown(staff: Client) -> None:
    rate = TaxRate.objects.create(
        country="FR", percent=20, valid_from=date(2014, 1, 1), source="The Commission", source_on=date(2026, 9, 29)
    )
    page = text_of(staff, f"{B}/taxrate/{rate.pk}/change/")
    assert "The Commission" in page
    assert 'name="source"' not in page
    assert "2026-09-29" in text_of(staff, f"{B}/taxrate/")


def test_an_issuer_says_where_else_it_charges_tax(staff: Client) -> None:
    issuer = make_issuer()
    fields = {
        "name": issuer.name, "key": issuer.key, "country": "DE", "payment_terms_days": 14, "invoice_prefix": "INV-",
        "credit_note_prefix": "CN-", "tax_countries": "CH,GB",
    }  # fmt: skip
    address = f"{B}/issuer/{issuer.pk}/change/"
    assert "was changed" in post(staff, address, **fields)
    assert Issuer.objects.get().tax_countries == ["CH", "GB"]
    assert "Item 2 in the array did not validate" in post(staff, address, **{**fields, "tax_countries": "CH,g1"})
    assert Issuer.objects.get().tax_countries == ["CH", "GB"]


def treatment(office: Office) -> str:
    on = timezone.now().date()
    quoted = issuing.quote(account=office.account, currency="USD", lines=[plain_line()], on=on)
    return str(quoted.lines[0].treatment)


def test_a_certificate_is_added_and_withdrawn_once_and_never_rewritten(staff: Client, office: Office) -> None:
    make_issuer()
    assert "was added" in post(staff, f"{B}/taxexemption/add/", **CERTIFICATE, account=office.account.pk)
    row = TaxExemption.objects.get()
    assert treatment(office) == "exempt"
    address = f"{B}/taxexemption/{row.pk}/"
    forged = {**CERTIFICATE, "number": "other", "country": "FR", "valid_from": "2000-01-01", "note": "A school"}
    post(staff, f"{address}change/", **forged, account=make_account().pk)
    row.refresh_from_db()
    assert (row.number, row.country, row.account, row.note) == ("EX-7", "DE", office.account, "A school")
    assert "in force" in text_of(staff, f"{B}/taxexemption/")
    assert "bear tax again" in text_of(staff, f"{address}withdraw/")
    assert treatment(office) == "exempt"
    assert "counts no more" in post(staff, f"{address}withdraw/")
    assert treatment(office) == "taxed"
    row.refresh_from_db()
    withdrawn_at = row.withdrawn_at
    assert "was withdrawn before" in post(staff, f"{address}withdraw/")
    row.refresh_from_db()
    assert row.withdrawn_at == withdrawn_at
    assert "withdraw/" not in text_of(staff, f"{address}change/")
    assert [act.act for act in StaffAct.objects.order_by("pk")] == ["add", "change", "withdraw"]
    assert staff.get(f"{B}/taxexemption/999/withdraw/").status_code == 404
    assert staff.post(f"{address}delete/", {"post": "yes"}).status_code == 403


FAULTY_CERTIFICATES = [
    ({"valid_to": "2021-01-01"}, "must end after it begins"),
    ({"number": ""}, "This field is required"),
    ({"country": "Germany"}, "at most 2 characters"),
    ({"country": "UK"}, "ISO 3166-1"),
    ({"account": ""}, "This field is required"),
]


def test_a_certificate_that_makes_no_sense_is_refused(staff: Client, office: Office) -> None:
    add, good = f"{B}/taxexemption/add/", {**CERTIFICATE, "account": office.account.pk}
    none = lambda: not TaxExemption.objects.exists()  # noqa: E731
    assert find_unrefused(staff, add, good, FAULTY_CERTIFICATES, unchanged=none) == []


def test_certificates_say_how_they_stand(staff: Client, office: Office) -> None:
    today = timezone.now().date()
    for number, since, until in (("PAST", -9, 0), ("NEXT", 3, None)):
        TaxExemption.objects.create(
            account=office.account, country="DE", number=number, valid_from=today + timedelta(days=since),
            valid_to=None if until is None else today + timedelta(days=until), created_at=office.now,
        )  # fmt: skip
    page = text_of(staff, f"{B}/taxexemption/")
    assert "ended" in page
    assert "to come" in page


@pytest.fixture
def check(office: Office) -> TaxNumberCheck:
    paris = make_account("paris", country="FR", tax_number="FR40303265045")
    return TaxNumberCheck.objects.create(
        account=paris, country="FR", tax_number="FR40303265045", vat_id="FR40303265045", created_at=office.now,
        next_check_at=office.now,
    )  # fmt: skip


def test_the_register_is_asked_again_by_hand(
    staff: Client, check: TaxNumberCheck, monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    settings.FLORIN_VIES_URL = "http://localhost:1"  # type: ignore[attr-defined]
    monkeypatch.setattr(tax_numbers.vies, "ask", lambda *_, **__: tax_numbers.vies.Answer(True, "SA", "", "W-1"))
    address = f"{B}/taxnumbercheck/{check.pk}/"
    assert "Ask the register again" in text_of(staff, f"{address}change/")
    text_of(staff, f"{address}ask/")
    check.refresh_from_db()
    assert check.state == "unknown"
    assert "FR40303265045: confirmed" in post(staff, f"{address}ask/")
    check.refresh_from_db()
    assert (check.state, check.name, check.reference) == ("valid", "SA", "W-1")
    assert StaffAct.objects.filter(act="ask").count() == 1
    assert staff.get(f"{B}/taxnumbercheck/999/ask/").status_code == 404


def test_without_a_register_staff_are_told_so(staff: Client, check: TaxNumberCheck) -> None:
    assert "Nothing was asked" in post(staff, f"{B}/taxnumbercheck/{check.pk}/ask/")
    check.refresh_from_db()
    assert check.state == "unknown"


def test_who_may_only_look_cannot_withdraw_or_ask(client: Client, office: Office, check: TaxNumberCheck) -> None:
    row = TaxExemption.objects.create(
        account=office.account, country="DE", number="EX-7", valid_from=date(2021, 1, 1), created_at=office.now
    )
    client.force_login(User.objects.create_user("viewer@example.com", is_staff=True))
    assert client.post(f"{B}/taxexemption/{row.pk}/withdraw/").status_code == 403
    assert client.post(f"{B}/taxnumbercheck/{check.pk}/ask/").status_code == 403
    row.refresh_from_db()
    assert row.withdrawn_at is None


def test_the_lists_ask_few_questions(
    staff: Client, office: Office, check: TaxNumberCheck, django_assert_max_num_queries: object
) -> None:
    for number in range(12):
        TaxExemption.objects.create(
            account=make_account(), country="DE", number=f"EX-{number}", valid_from=date(2021, 1, 1),
            created_at=office.now,
        )  # fmt: skip
    calculation = TaxCalculation.objects.create(
        fingerprint="f", engine="stripe", reference="taxcalc_1", sale={}, lines=[], created_at=office.now
    )
    pages = ("taxexemption/", "taxnumbercheck/", "taxcalculation/", f"taxcalculation/{calculation.pk}/change/")
    for page in pages:
        with django_assert_max_num_queries(MAX_QUERIES):  # type: ignore[operator]
            text_of(staff, f"{B}/{page}")
