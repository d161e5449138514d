"""The house keeps its shape: what `tests.house` measures may fall, and never rise."""

import ast

import pytest

from tests import house

# Lower a ceiling when you have lowered the figure.
CEILINGS = {
    house.circles: 0,
    house.upward_reads: 0,
    house.long_functions: 0,
    house.long_modules: 0,
    house.crowded_functions: 23,
    house.banned_words: 0,
}
LEAST_SHARE_OF_SHORT_TESTS = 0.80


@pytest.mark.parametrize("measure", CEILINGS, ids=lambda measure: measure.__name__)
def test_what_should_not_grow_does_not(measure):
    found = measure()
    assert len(found) <= CEILINGS[measure], found


def test_tests_stay_short():
    found, total = house.tests_of_many_asserts()
    assert total > 3000
    assert 1 - len(found) / total >= LEAST_SHARE_OF_SHORT_TESTS


def test_each_measure_sees_what_it_measures(monkeypatch):
    crowd = ", ".join(f"p{number}" for number in range(house.MANY_PARAMETERS))
    lines = "    pass\n" * house.LONG_MODULE
    texts = {
        "billing.one": "from billing import two  # Stands on the other.\n",
        "billing.two": f"from billing import one\ndef f({crowd}):\n{lines}",
        "billing.metering.models": "class UsageEvent(models.Model): pass",
        "billing.ledger.burn": "SQL = 'SELECT 1 FROM billing_usageevent'",
        "billing.finance.proof": "SQL = 'SELECT 1 FROM billing_usageevent'",
    }
    found = tuple(house.Module(name, text, ast.parse(text)) for name, text in texts.items())
    monkeypatch.setattr(house, "modules", lambda *folders: found)
    assert {measure.__name__: len(measure()) for measure in CEILINGS} == {each.__name__: 1 for each in CEILINGS}
