"""Messages about credits that are used, run low or expire."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.notifications import wording
from billing.notifications.messages import MAIN_POOL, About, Fact, Message

ALL = 100
URGENT = 90
# The last warning is the loud one.
LAST_DAYS = 1


def threshold(about: About) -> Message:
    """75, 90 or 100 % of a cycle's allocation is spent."""
    reached, pool = int(about.payload["threshold"]), _pool_name(about)
    left = about.amount("allocation") - about.amount("spent")
    facts = [
        Fact(_("Pool"), pool),
        Fact(_("Used in this cycle"), about.credits("spent")),
        Fact(_("Allocation of this cycle"), about.credits("allocation")),
    ]
    if left > 0:
        facts.append(Fact(_("Left of it"), wording.credits_text(left)))
    facts.append(Fact(_("Next cycle begins"), about.day("cycle_ends_at")))
    names = {"percent": reached, "pool": pool}
    if about.payload["pool"] == MAIN_POOL:
        title = (
            _("All credits of this cycle are used")
            if reached >= ALL
            else _("%(percent)s%% of this cycle's credits are used") % names
        )
    elif reached >= ALL:
        title = _("All credits of this cycle in %(pool)s are used") % names
    else:
        title = _("%(percent)s%% of this cycle's credits in %(pool)s are used") % names
    return Message(
        title=title,
        lead=_("%(spent)s of %(allocation)s credits in %(pool)s are used. The next cycle begins on %(day)s.")
        % {**names, "spent": about.credits("spent"), "allocation": about.credits("allocation"),
           "day": about.day("cycle_ends_at")},
        tone="bad" if reached >= ALL else "warning",
        facts=tuple(facts),
        action=about.link(_("Buy credits"), "buy") if reached >= URGENT else about.link(_("See usage"), "dashboard"),
        further=(
            about.link(_("See usage"), "dashboard") if reached >= URGENT else about.link(_("Buy credits"), "buy"),
        ),
    )  # fmt: skip


def low_balance(about: About) -> Message:
    """A pool's balance fell below what its owner asked to be told of."""
    names = {
        "pool": about.text("pool_name"),
        "available": about.credits("available"),
        "threshold": about.credits("threshold"),
    }
    return Message(
        title=_("Fewer than %(threshold)s credits left in %(pool)s") % names,
        lead=_("%(pool)s has %(available)s credits left, fewer than the %(threshold)s set for it.") % names,
        tone="warning",
        facts=(
            Fact(_("Pool"), names["pool"]),
            Fact(_("Credits left"), names["available"]),
            Fact(_("Low below"), names["threshold"]),
        ),
        action=about.link(_("Buy credits"), "buy"),
        further=(about.link(_("Set up automatic top-up"), "top_ups"), about.link(_("See usage"), "dashboard")),
    )


def expiring(about: About) -> Message:
    """Credits of a pool expire soon: those of all lots that end on the same day."""
    ends, credits, pool = about.moment("expires_at"), about.amount("credits"), about.text("pool_name")
    names = {
        "credits": wording.credits_text(credits),
        "pool": pool,
        # A customer with one pool need not read its name in every subject.
        "where": "" if about.payload.get("pool", MAIN_POOL) == MAIN_POOL else _(" in %(pool)s") % {"pool": pool},
        "when": wording.days_off(ends, about.now),
        "day": about.day("expires_at"),
        "minute": about.minute("expires_at"),
    }
    # The number only chooses the form of the word; what is shown is formatted.
    count = 1 if credits == 1 else 2
    if ends <= about.now:
        # By now it is over: how many were really lost, the ledger knows.
        title = _("Credits%(where)s were good until %(day)s")
        lead = _("%(credits)s of them were left when this was written. What was not used in time is no longer there.")
    else:
        title = ngettext(
            "%(credits)s credit%(where)s expires %(when)s", "%(credits)s credits%(where)s expire %(when)s", count
        )
        lead = ngettext(
            "%(credits)s credit in %(pool)s can be used until %(minute)s.",
            "%(credits)s credits in %(pool)s can be used until %(minute)s.",
            count,
        )
    return Message(
        title=title % names,
        lead=lead % names,
        tone="warning" if int(about.payload["days"]) <= LAST_DAYS else "info",
        facts=(
            Fact(_("Pool"), names["pool"]),
            Fact(_("Credits that expire"), names["credits"]),
            Fact(_("Good until"), names["minute"]),
        ),
        more=(_("What you use until then does not expire."),),
        action=about.link(_("See all credits in hand"), "dashboard"),
    )


def _pool_name(about: About) -> str:
    if name := about.payload.get("pool_name"):
        return " ".join(str(name).split())
    return _("the main pool") if about.payload["pool"] == MAIN_POOL else about.text("pool")
