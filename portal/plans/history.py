"""What was done to a subscription, in the customer's words. Pure."""

from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.subscriptions.models import SubscriptionChange
from billing.wording import amounts

Act = SubscriptionChange.Act


def change_title(change: SubscriptionChange) -> str:
    """What happened, in a few words."""
    old, new = change.from_version, change.to_version
    version = new or old
    name = {"plan": version.plan.name if version else "", "old": old.plan.name if old else ""}
    if change.act == Act.SUBSCRIBE:
        return _("Subscribed to %(plan)s") % name
    if change.act == Act.CHANGE and old and new and old.plan_id != new.plan_id:
        return _("%(old)s became %(plan)s") % name
    if change.act == Act.SCHEDULE and old and new and old.plan_id != new.plan_id:
        return _("%(old)s is to become %(plan)s") % name
    words = {
        Act.ACTIVATE: _("First payment arrived"),
        Act.RENEW: _("Renewed"),
        Act.CHANGE: _("Seats changed"),
        Act.SCHEDULE: _("Change of seats planned"),
        Act.UNSCHEDULE: _("Planned change withdrawn"),
        Act.PAST_DUE: _("Invoice unpaid"),
        Act.RECOVER: _("Invoice paid"),
        Act.PAUSE: _("Paused"),
        Act.RESUME: _("Resumed"),
        Act.CANCEL: _("Cancelled"),
        Act.REACTIVATE: _("Cancellation withdrawn"),
        Act.END: _("Ended"),
        Act.COUPON: _("Coupon redeemed"),
        Act.CONTRACT: _("Terms agreed"),
        Act.DISPUTE: _("Payment disputed"),
        Act.RESTORE: _("Disputed payment came back"),
    }
    return words.get(Act(change.act), "")


def change_detail(change: SubscriptionChange) -> str:
    """What more there is to say of it; may be empty."""
    parts = []
    if change.to_seats and change.act in (Act.SUBSCRIBE, Act.CHANGE, Act.SCHEDULE):
        if change.from_seats and change.from_seats != change.to_seats:
            parts.append(_("%(old)s to %(new)s seats") % {"old": change.from_seats, "new": change.to_seats})
        elif not change.from_seats:
            parts.append(ngettext("%(count)s seat", "%(count)s seats", change.to_seats) % {"count": change.to_seats})
    if change.act in (Act.DISPUTE, Act.RESTORE):
        parts.append(_disputed(change))
    for key in ("coupon", "code", "reason"):
        if text := change.details.get(key):
            parts.append(str(text))
    return ", ".join(parts)


def _disputed(change: SubscriptionChange) -> str:
    """How many credits a dispute has taken along, or brought again: those there were, and those to come."""
    taken, held = (Decimal(change.details.get(name, "0")) for name in ("taken", "held"))
    texts = (_("%(credits)s credits taken back"), _("%(credits)s still to come held back"))
    if change.act == Act.RESTORE:
        texts = (_("%(credits)s credits given back"), _("%(credits)s still to come go on"))
    parts = zip(texts, (taken, held), strict=True)
    return ", ".join(text % {"credits": amounts.credits_text(amount)} for text, amount in parts if amount)
