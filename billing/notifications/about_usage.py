"""Messages about credits that are used, run low or expire."""

from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.notifications.messages import MAIN_POOL, About, Fact, Message
from billing.wording import amounts

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
        facts.append(Fact(_("Left of it"), amounts.credits_text(left)))
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
    """Credits of an account expire soon: those of all its pools that end on the same day."""
    pools = about.payload["pools"]
    shares = [(" ".join(str(each["pool_name"]).split()), Decimal(str(each["credits"]))) for each in pools]
    credits = about.amount("credits")
    names = {
        "credits": amounts.credits_text(credits),
        # A customer with one pool need not read its name in every subject.
        "where": _(" in %(pool)s") % {"pool": shares[0][0]}
        if len(pools) == 1 and pools[0]["pool"] != MAIN_POOL
        else "",
        "day": about.day("expires_at"),
        "minute": about.minute("expires_at"),
        "shares": ", ".join(
            _("%(credits)s in %(pool)s") % {"credits": amounts.credits_text(share), "pool": pool}
            for pool, share in shares
        ),
    }
    # The number only chooses the form of the word; what is shown is formatted.
    count = 1 if credits == 1 else 2
    title = ngettext(
        "%(credits)s credit%(where)s expires on %(day)s", "%(credits)s credits%(where)s expire on %(day)s", count
    )
    return Message(
        title=title % names,
        lead=_("Use them by %(minute)s: what is left then is lost (%(shares)s).") % names,
        tone="warning" if int(about.payload["days"]) <= LAST_DAYS else "info",
        facts=(
            *(Fact(pool, amounts.credits_text(share)) for pool, share in shares),
            Fact(_("Good until"), names["minute"]),
        ),
        action=about.link(_("See your credits"), "dashboard"),
    )


def charge_refused(about: About) -> Message:
    """A charge or hold was refused because the pool has too few credits: the first of the cycle."""
    names = {
        "pool": about.text("pool_name"),
        "required": about.credits("required"),
        "available": about.credits("available"),
        "minute": about.minute("refused_at"),
        "day": about.day("cycle_ends_at"),
    }
    return Message(
        title=_("Not enough credits in %(pool)s: requests are blocked") % names,
        lead=_(
            "On %(minute)s a request for %(required)s credits was blocked, because %(pool)s had %(available)s credits."
        )
        % names,
        tone="bad",
        facts=(
            Fact(_("Pool"), names["pool"]),
            Fact(_("Credits needed"), names["required"]),
            Fact(_("Credits available"), names["available"]),
        ),
        more=(_("We don't notify you of further blocked requests in this pool before %(day)s.") % names,),
        action=about.link(_("Buy credits"), "buy"),
        further=(about.link(_("Set up automatic top-up"), "top_ups"), about.link(_("See usage"), "dashboard")),
    )


def _pool_name(about: About) -> str:
    if name := about.payload.get("pool_name"):
        return " ".join(str(name).split())
    return _("the main pool") if about.payload["pool"] == MAIN_POOL else about.text("pool")
