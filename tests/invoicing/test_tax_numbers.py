"""Tax numbers: their form, what the register says about them, and what follows from that."""

from datetime import timedelta

import pytest

from billing.accounts import details, tax_ids
from billing.accounts.models import Account
from billing.accounts.tax_ids import find_vat_id, looks_right
from billing.invoicing import tax_numbers
from billing.invoicing.tax_models import TaxNumberCheck
from billing.invoicing.tax_numbers import Round, Standing
from tests.factories import NOW, make_account
from tests.invoicing.makers import issue, plain_line

KNOWN, UNKNOWN = "FR40303265045", "FR23334175221"


@pytest.fixture
def paris(db):
    return make_account("paris", country="FR", tax_number=KNOWN, currency="EUR")


def check(account, at=NOW):
    return tax_numbers.check(account_id=account.pk, now=at)


def run(at=NOW, limit=100, **options):
    return tax_numbers.check_due(now=at, limit=limit, **options)


def with_number(account, number):
    return details.change(account_id=account.pk, changes={"tax_number": number})


def treatment(account, reference):
    return issue(account, plain_line(), reference=reference).lines.get().tax_treatment


@pytest.mark.parametrize(
    ("country", "text", "vat_id"),
    [
        ("FR", "fr 40 303-265.045", "FR40303265045"),
        ("GR", "EL 094259216", "EL094259216"),
        ("GR", "gr 094259216", "EL094259216"),
        ("MC", "fr 53 000 00 4605", "FR53000004605"),
        ("MC", "MC53000004605", None),
        ("AT", "ATU12345675", "ATU12345675"),
        ("AT", "ATU12345678", None),
        ("DE", "DE136695976", "DE136695976"),
        ("DE", "136695976", None),
        ("FR", "DE136695976", None),
        ("CH", "CHE123456788", None),
        ("FR", "FR\u0664\u0660303265045", None),
        ("FR", "", None),
        ("XI", "XI123456789", None),
    ],
)
def test_a_vat_number_has_the_form_and_the_digits_of_its_country(country, text, vat_id):
    assert find_vat_id(country, text) == vat_id


@pytest.mark.parametrize(
    ("country", "text", "right"),
    [
        ("CH", "CHE-107.787.577 IVA", True), ("CH", "CHE-107.787.578 IVA", False), ("US", "anything", True),
        ("FR", "anything", False), ("GB", "GB 980 7806 84", True), ("ZZ", "1", True),
    ],
)  # fmt: skip
def test_numbers_of_other_countries_are_looked_at_where_their_form_is_known(country, text, right):
    assert looks_right(country, text) is right


def test_the_registers_answer_is_kept_with_its_proof(issuer, paris, services):
    issuer.tax_number = "DE136695976"
    issuer.save()
    kept = check(paris)
    assert (kept.state, kept.vat_id, kept.name, kept.reference) == ("valid", KNOWN, "SA EXAMPLE", "WAPI-7")
    assert (kept.answered_at, kept.next_check_at, kept.tries) == (NOW, NOW + timedelta(days=30), 0)
    assert services.calls() == [
        {
            "path": "/vies/check-vat-number", "key": "", "countryCode": "FR", "vatNumber": "40303265045",
            "requesterMemberStateCode": "DE", "requesterNumber": "136695976",
        }
    ]  # fmt: skip
    assert tax_numbers.standing(paris) == Standing.VALID


def test_what_the_register_does_not_tell_stays_empty(services, db):
    kept = check(make_account("wien", country="AT", tax_number="ATU12345675"))
    assert (kept.state, kept.name, kept.address, kept.reference) == ("valid", "", "", "")


def test_a_number_that_the_register_denies_is_no_businesss(issuer, paris, services):
    with_number(paris, UNKNOWN)
    assert treatment(paris, "before") == "reverse_charge"
    assert check(paris).state == "invalid"
    assert treatment(paris, "after") != "reverse_charge"
    with_number(paris, KNOWN)
    assert treatment(paris, "mended") == "reverse_charge"
    assert TaxNumberCheck.objects.count() == 1


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("slow", "no answer: ReadTimeout"), ("cut", "no answer: ConnectionError"), ("down", "status 503"),
        ("nonsense", "status 200"), ("ms_unavailable", "MS_UNAVAILABLE"), ("user_error", "MS_MAX_CONCURRENT_REQ"),
    ],
)  # fmt: skip
def test_no_answer_leaves_a_number_unknown_and_usable(issuer, paris, services, fault, problem):
    services.go_wrong(fault)
    kept = check(paris)
    assert (kept.state, kept.problem, kept.answered_at) == ("unknown", problem, None)
    assert tax_numbers.standing(paris) == Standing.UNKNOWN
    assert treatment(paris, "r") == "reverse_charge"


def test_tries_grow_rarer_until_an_answer_comes(paris, services):
    services.go_wrong(*["down"] * 5)
    gaps, at = [], NOW
    for _ in range(5):
        kept = check(paris, at)
        gaps.append(kept.next_check_at - at)
        at = kept.next_check_at
    assert gaps == [timedelta(minutes=10), *(timedelta(hours=hours) for hours in (1, 4, 24, 24))]
    assert (kept.tries, check(paris, at).tries) == (5, 0)


def test_an_answer_stands_while_the_register_is_silent(paris, services):
    check(paris)
    services.go_wrong("down")
    later = NOW + timedelta(days=30)
    kept = check(paris, later)
    assert (kept.state, kept.problem, kept.answered_at) == ("valid", "status 503", NOW)
    assert kept.next_check_at == later + timedelta(minutes=10)


def test_a_round_asks_about_each_number_once_in_a_while(paris, services):
    stranger = make_account("berlin", tax_number="DE136695976")
    make_account("odd", country="FR", tax_number="none")
    make_account("bern", country="CH", tax_number="CHE107787577")
    assert run() == Round(asked=2, answered=2)
    assert run(NOW + timedelta(days=2)) == Round(0, 0)
    # What the register denies is asked about sooner: a business may have registered just now.
    assert run(NOW + timedelta(days=3)) == Round(1, 1)
    assert run(NOW + timedelta(days=30), account_id=paris.pk) == Round(1, 1)
    assert tax_numbers.standing(stranger) == Standing.INVALID


def test_a_changed_number_is_asked_about_at_the_next_round(paris, services):
    run()
    paris = with_number(paris, UNKNOWN)
    assert tax_numbers.standing(paris) == Standing.UNCHECKED
    assert run() == Round(1, 1)
    assert tax_numbers.standing(paris) == Standing.INVALID


def test_a_round_ends_at_its_limit_and_numbers_without_form_do_not_count(db, services):
    for name in ("one", "two", "three"):
        make_account(f"odd-{name}", country="FR", tax_number="none")
        make_account(name, country="FR", tax_number=KNOWN)
    assert [run(limit=2).asked, run(limit=2).asked, run(limit=2).asked] == [2, 1, 0]


def test_without_a_register_nobody_is_asked(paris, services, settings):
    settings.FLORIN_VIES_URL = ""
    assert check(paris) is None
    assert run() == Round(0, 0)
    assert services.calls() == []
    assert tax_numbers.standing(paris) == Standing.UNCHECKED


def test_what_is_known_is_said_in_a_word(db):
    assert tax_numbers.standing(make_account("none")) == Standing.NONE
    assert tax_numbers.standing(make_account("odd", country="FR", tax_number="12")) == Standing.MALFORMED
    assert tax_numbers.standing(make_account("us", country="US", tax_number="12")) == Standing.UNCHECKED


@pytest.mark.parametrize(
    ("country", "typed", "kept", "is_vat"),
    [
        ("DE", "de 811 907 980", "DE811907980", True), ("DE", " 30/123/45678 ", "30/123/45678", False),
        ("GR", "el 094259216", "EL094259216", True), ("GR", "gr1", "GR1", False), ("FR", "fr 12", "FR 12", False),
        ("CH", "CHE-107.787.577  mwst", "CHE107787577MWST", True), ("GB", "gb 980 7806 84", "GB980780684", True),
        ("GB", "980 7806 84", "980 7806 84", False), ("US", "us123", "US123", False),
    ],
)  # fmt: skip
def test_a_number_is_kept_in_one_way_and_called_a_vat_number_only_if_it_is_one(country, typed, kept, is_vat):
    assert tax_ids.normalise(country, typed) == tax_ids.normalise(country, kept) == kept
    assert (tax_ids.find_prefixed_vat_id(country, typed) is not None) == is_vat


def test_every_door_keeps_a_tax_number_in_the_same_way(db):
    opened = make_account("paris", country="FR", tax_number="fr 40303265045")
    assert opened.tax_number == "FR40303265045"
    details.change(account_id=opened.pk, changes={"country": "GR", "tax_number": "gr 094259216"})
    assert Account.objects.get().tax_number == "EL094259216"


@pytest.mark.parametrize(
    ("place", "area"),
    [
        (("MC",), "FR"), (("IM",), "GB"), (("ES", "CN"), "IC"), (("ES", "", "35 001"), "IC"), (("ES", "ML"), "EA"),
        (("ES", "MD", "28001"), "ES"), (("DE", "", "27498"), "XH"), (("FI", "01"), "AX"), (("AX",), "AX"),
        (("FR", "IDF", "75002"), "FR"), (("GR", "69"), "XA"), (("US", "CA", "35001"), "US"),
    ],
)  # fmt: skip
def test_vat_follows_its_areas_and_not_countries(place, area):
    assert tax_ids.vat_area(*place) == area
