"""Spans and moments in words, the same in portal, admin and e-mail. Pure."""

from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext


def validity_text(days: int | None) -> str:
    """How long credits are good for, from the moment they are granted: `1 year`, `6 months`, `45 days`, `no expiry`.

    None is no expiry. Only what is a year or a month to the day is called so: 365 days and multiples, 30 and multiples.
    """
    if days is None:
        return _("no expiry")
    if days and days % 365 == 0:
        return ngettext("%(count)s year", "%(count)s years", days // 365) % {"count": days // 365}
    if days and days % 30 == 0:
        return ngettext("%(count)s month", "%(count)s months", days // 30) % {"count": days // 30}
    return ngettext("%(count)s day", "%(count)s days", days) % {"count": days}


def days_off(moment: datetime, now: datetime) -> str:
    """How far a coming moment is off, by the calendar of `now`'s time zone: `in 5 hours`, `tomorrow`, `in 12 days`."""
    if moment <= now:
        return _("now")
    days = (moment.astimezone(now.tzinfo).date() - now.date()).days
    if days == 0:
        hours = int((moment - now).total_seconds() // 3600)
        if not hours:
            return _("within the hour")
        return ngettext("in %(count)s hour", "in %(count)s hours", hours) % {"count": hours}
    if days == 1:
        return _("tomorrow")
    if days < 90:
        return ngettext("in %(count)s day", "in %(count)s days", days) % {"count": days}
    return ngettext("in %(count)s month", "in %(count)s months", days // 30) % {"count": days // 30}
