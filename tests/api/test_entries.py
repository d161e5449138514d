from datetime import timedelta
from decimal import Decimal

from billing.accounts.ids import encode
from billing.ledger import holds, pools, posting
from billing.ledger.models import Posting
from tests.api.asking import assert_problem, not_refused, written
from tests.factories import NOW, give_credits

PATH = "/accounts/acme/entries"


def spend(account, credits, reference="s", now=NOW):
    pool = pools.get_main_pool(account.pk)
    return posting.spend(pool_id=pool.pk, credits=Decimal(credits), reference=reference, now=now)


def test_entries_show_the_running_balance_and_the_lots_drawn(alice, acme):
    first = give_credits(acme, "30", reference="test:first")
    give_credits(acme, "70", kind="purchase", reference="test:second")
    spent = spend(acme, "45")
    items = alice.get(PATH).json()["items"]
    assert [(item["act"], item["balance_before"], item["amount"], item["balance_after"]) for item in items] == [
        ("spend", "100", "-45", "55"),
        ("grant", "30", "70", "100"),
        ("grant", "0", "30", "30"),
    ]
    assert [item["version"] for item in items] == [3, 2, 1]
    latest = items[0]
    assert latest["id"] == encode("pst", spent.pk)
    assert (latest["reference"], latest["credits"]) == ("s", "45")
    assert [(line["kind"], line["flow"], line["amount"]) for line in latest["lines"]] == [
        ("bonus", "spend", "-30"),
        ("purchase", "spend", "-15"),
    ]
    assert latest["lines"][0]["grant"] == encode("grt", first.entries.get().grant_id)


def test_entries_come_page_by_page_without_a_gap(alice, acme):
    for number in range(5):
        give_credits(acme, "1", now=NOW + timedelta(minutes=number))
    versions, cursor = [], None
    while True:
        page = alice.get(PATH, limit=2, **({"cursor": cursor} if cursor else {})).json()
        versions += [item["version"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert versions == [5, 4, 3, 2, 1]


def test_filters_narrow_the_list(alice, acme):
    rows = [
        ({"act": "spend"}, ["spend"]),
        ({"from": "2025-03-01T12:01:00Z"}, ["spend"]),
        ({"to": "2025-03-01T13:01:00+01:00"}, ["grant"]),
        ({"pool": "research"}, []),
    ]
    pools.open_pool(account=acme, key="research", name="Research", now=NOW)
    give_credits(acme, "10")
    spend(acme, "1", now=NOW + timedelta(minutes=1))
    assert [(query, [item["act"] for item in alice.get(PATH, **query).json()["items"]]) for query, _ in rows] == rows


def test_a_malformed_query_is_refused_by_parameter(alice, acme):
    rows = [
        ({"act": "steal"}, "act"),
        ({"from": "2025-03-01"}, "from"),
        ({"from": "2025-03-02T00:00:00Z", "to": "2025-03-01T00:00:00Z"}, "to"),
        ({"limit": "-1"}, "limit"),
    ]
    answers = [((query, field), alice.get(PATH, **query), field) for query, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []


def test_a_list_of_entries_costs_the_same_for_many_as_for_one(alice, acme, django_assert_max_num_queries):
    for number in range(20):
        give_credits(acme, "1", now=NOW + timedelta(minutes=number))
    alice.get(PATH)
    with django_assert_max_num_queries(4):
        assert len(alice.get(PATH).json()["items"]) == 20


def test_a_spend_is_reversed_once(platform, acme):
    give_credits(acme, "100")
    spent = spend(acme, "45")
    response = platform.post(f"/postings/{encode('pst', spent.pk)}/reverse", {"note": "sorry"})
    assert response.status_code == 201, response.content
    answer = response.json()
    assert (answer["act"], answer["amount"], answer["balance_after"]) == ("reverse", "45", "100")
    assert (answer["reverses"], answer["note"]) == (encode("pst", spent.pk), "sorry")
    before = written()
    assert_problem(platform.post(f"/postings/{encode('pst', spent.pk)}/reverse"), 409, "already_reversed")
    assert written() == before


def test_a_grant_is_not_undone_by_reversing(platform, acme):
    given = give_credits(acme, "100")
    before = written()
    assert_problem(platform.post(f"/postings/{encode('pst', given.pk)}/reverse"), 409, "not_reversible")
    assert written() == before


def test_an_unknown_posting_is_not_found(platform, acme):
    rows = ["pst_0000000000009", "grt_1", "1", "pst_1x"]
    answers = [(posting_id, platform.post(f"/postings/{posting_id}/reverse")) for posting_id in rows]
    assert not_refused(answers, 404, "not_found") == []


def test_a_malformed_note_is_refused(platform, acme):
    rows = [5, "x" * 201, ["a"], None]
    give_credits(acme, "100")
    spent = spend(acme, "45")
    answers = [
        (note, platform.post(f"/postings/{encode('pst', spent.pk)}/reverse", {"note": note}), "note") for note in rows
    ]
    assert not_refused(answers, 400, "invalid_request") == []
    assert not Posting.objects.filter(act="reverse").exists()


def test_a_capture_names_its_hold(alice, acme):
    give_credits(acme, "100")
    hold = holds.place(pool_id=pools.get_main_pool(acme.pk).pk, amount=Decimal(5), reference="h", now=NOW)
    holds.capture(hold_id=hold.pk, amount=Decimal(5), now=NOW)
    assert alice.get(PATH).json()["items"][0]["hold"] == encode("hld", hold.pk)
