"""Reading plans and subscriptions for people: the plans on offer as cards, and how one's own stands."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from billing.catalog.models import PlanVersion
from billing.subscriptions.agreement.terms import Terms
from billing.subscriptions.charges import proration
from portal.plans.wording import billed_text, has_seats, list_features

# For weighing one plan's fee against another's by the day.
DAYS = {"week": 7, "month": 30, "quarter": 91, "year": 365}


@dataclass(frozen=True, slots=True)
class Card:
    """A plan on offer. `step`: where it lies from one's own: `here`, `up`, `down`, `across`; empty without a plan.
    `is_same`: one's own very version."""

    terms: Terms
    step: str
    is_same: bool = False

    @property
    def features(self) -> list[str]:
        """What it includes; the trial only for those who have no plan yet."""
        return list_features(self.terms, with_trial=not self.step)

    @property
    def verb(self) -> str:
        """What choosing it is called; empty where there is nothing to choose."""
        if self.is_same:
            return _("Change seats") if has_seats(self.terms) else ""
        if self.step:
            names = {"here": _("Change to its new terms"), "up": _("Upgrade"), "down": _("Downgrade")}
            return names.get(self.step, _("Switch"))
        return _("Start the free trial") if self.terms.version.trial_days else _("Choose")


@dataclass(frozen=True, slots=True)
class Shelf:
    """Plans with periods of one length. `every` is what addresses call it, `name` what people do."""

    every: str
    name: str
    cards: list[Card]


def arrange(plans: Sequence[Terms], current: Terms | None) -> list[Shelf]:
    """The plans on offer by how long their periods are, the shortest first, each shelf in the order of the plans."""
    shelves: dict[str, Shelf] = {}
    for terms in sorted(plans, key=lambda plan: _days(plan.version)):
        every = every_of(terms.version)
        shelf = shelves.setdefault(every, Shelf(every, billed_text(terms.version), []))
        is_same = current is not None and terms.version.pk == current.version.pk
        shelf.cards.append(Card(terms, _step(terms, current), is_same))
    for shelf in shelves.values():
        shelf.cards.sort(key=lambda card: card.terms.version.plan.position)
    return list(shelves.values())


def every_of(version: PlanVersion) -> str:
    """How long a version's periods are, for addresses: `month`, `2-week`."""
    return version.interval if version.interval_count == 1 else f"{version.interval_count}-{version.interval}"


def _days(version: PlanVersion) -> int:
    return DAYS[version.interval] * version.interval_count


def _step(terms: Terms, current: Terms | None) -> str:
    if current is None:
        return ""
    if terms.version.plan_id == current.version.plan_id:
        return "here"
    theirs, ours = _days(terms.version), _days(current.version)
    if proration.is_dearer(terms.fee, new_days=theirs, old=current.fee, old_days=ours):
        return "up"
    if proration.is_dearer(current.fee, new_days=ours, old=terms.fee, old_days=theirs):
        return "down"
    return "across"
