"""Messages about a plan and what it costs: invoices, overdue payments, and what becomes of the subscription.

All but what a function names in its first line may be missing from the payload; what is there is said.
"""

from datetime import timedelta

from django.utils import dateformat
from django.utils.translation import gettext as _

from billing.notifications.messages import About, Fact, Link, Message


def invoice_issued(about: About) -> Message:
    """An invoice for a plan: invoice_id, number, total, currency, due_at, plan_name.

    Also period_starts_at, period_ends_at, credits, and is_automatic: whether a payment method is charged for it.
    """
    names = {"number": about.text("number"), "total": about.money("total"), "plan": about.text("plan_name")}
    facts = [Fact(_("Invoice"), names["number"]), Fact(_("To pay"), names["total"]), Fact(_("Plan"), names["plan"])]
    if about.payload.get("period_ends_at"):
        names |= {"from": about.day("period_starts_at"), "to": _last_day(about, "period_ends_at")}
        facts.append(Fact(_("Period"), _("%(from)s to %(to)s") % names))
        lead = _("This invoice is for your plan %(plan)s from %(from)s to %(to)s.") % names
    else:
        lead = _("This invoice is for your plan %(plan)s.") % names
    if about.payload.get("credits") and about.amount("credits") > 0:
        facts.append(Fact(_("Credits included"), about.credits("credits")))
    return Message(
        title=_("Invoice %(number)s for %(total)s") % names,
        lead=lead,
        facts=(*facts, *_due(about)),
        more=_how_it_is_paid(about),
        action=_invoice(about),
        further=(about.link(_("Download it as PDF"), "invoice_pdf", about.payload["invoice_id"]), _plan(about)),
    )


def payment_overdue(about: About) -> Message:
    """An invoice could not be collected, or was not paid when it was due: invoice_id, number, total, currency.

    Also reason, next_try_at, due_at, is_automatic: whether a payment method is charged; has_method: is there one.
    """
    names = {"number": about.text("number"), "total": about.money("total")}
    if not about.payload.get("is_automatic", "yes"):
        lead = _("We have not received your payment yet. Please pay it as the invoice says.")
        if about.payload.get("due_at"):
            lead = _("Its due date is %(day)s, and we have not received your payment yet.") % {
                "day": about.day("due_at")
            }
        return Message(
            title=_("Invoice %(number)s for %(total)s is unpaid") % names,
            lead=lead,
            tone="warning",
            facts=(*_owed(about), *_due(about)),
            more=(_("If you have paid in the last few days, you need do nothing."),),
            action=about.link(_("See how to pay"), "invoice", about.payload["invoice_id"]),
        )
    return Message(
        title=_("We could not collect %(total)s for invoice %(number)s") % names,
        lead=_("Nothing was charged, and the invoice for your plan is still to be paid."),
        tone="bad",
        facts=(*_owed(about), *_reason(about), *_next_try(about)),
        more=(_what_helps(about),),
        action=about.link(_("Pay now"), "invoice", about.payload["invoice_id"]),
        further=(about.link(_("Change the payment method"), "payment_methods"),),
    )


def payment_reminder(about: About) -> Message:
    """An invoice is still unpaid: invoice_id, number, total, currency, final_at, final_act.

    Also reason, next_try_at, due_at, is_automatic: whether a payment method is charged; has_method: is there one.
    """
    names = {"number": about.text("number"), "total": about.money("total"), "day": about.day("final_at")}
    leads = {
        "pause": _("Unless it is paid before %(day)s, your plan is paused then, and no credits can be used."),
        "downgrade": _("Unless it is paid before %(day)s, you are moved to a smaller plan then."),
        "cancel": _("Unless it is paid before %(day)s, your plan ends then."),
    }
    by_transfer = not about.payload.get("is_automatic", "yes")
    more = _("If you have paid in the last few days, you need do nothing.") if by_transfer else _what_helps(about)
    pay = _("See how to pay") if by_transfer else _("Pay now")
    return Message(
        title=_("Reminder: invoice %(number)s for %(total)s is not paid") % names,
        lead=leads.get(about.text("final_act"), _("Please pay it before %(day)s.")) % names,
        tone="bad",
        facts=(*_owed(about), *_reason(about), *_next_try(about), Fact(_("To be paid before"), names["day"])),
        more=(more,),
        action=about.link(pay, "invoice", about.payload["invoice_id"]),
        further=() if by_transfer else (about.link(_("Change the payment method"), "payment_methods"),),
    )


def subscription_lapsed(about: About) -> Message:
    """The end of dunning: act (pause, downgrade, cancel, keep), plan_name, invoice_id, number, total, currency.

    Also new_plan_name: what the plan was changed to.
    """
    names = {
        "number": about.text("number"),
        "total": about.money("total"),
        "plan": about.text("plan_name"),
        "new": _maybe(about, "new_plan_name") or _("a smaller one"),
    }
    titles = {
        "pause": _("Your plan %(plan)s is paused: invoice %(number)s is not paid"),
        "downgrade": _("Your plan %(plan)s was changed: invoice %(number)s is not paid"),
        "cancel": _("Your plan %(plan)s has ended: invoice %(number)s is not paid"),
    }
    leads = {
        "pause": _("No credits can be used until %(total)s is paid. Once it is, everything goes on at once."),
        "downgrade": _("%(total)s was not paid in time, so your plan is now %(new)s."),
        "cancel": _("%(total)s was not paid in time. Credits that you bought stay yours until they expire."),
    }
    act = about.text("act")
    return Message(
        title=titles.get(act, _("Invoice %(number)s is still not paid")) % names,
        lead=leads.get(act, _("%(total)s was not paid in time. We ask for it no more by ourselves, but it stays owed."))
        % names,
        tone="bad",
        facts=_owed(about),
        action=about.link(_("Pay now"), "invoice", about.payload["invoice_id"]),
        further=(_plan(about),),
    )


def trial_ending(about: About) -> Message:
    """A trial ends soon: plan_name, ends_at. Also total and currency: what the first period costs; has_method."""
    names = {"plan": about.text("plan_name"), "day": about.day("ends_at")}
    facts = [Fact(_("Plan"), names["plan"]), Fact(_("Plan begins"), names["day"])]
    if about.payload.get("total"):
        facts.append(Fact(_("First invoice"), about.money("total")))
    needs_method = about.payload.get("has_method") == ""
    lead = _("On %(day)s the plan %(plan)s begins, and its first period is invoiced.") % names
    if needs_method:
        lead += " " + _("There is no payment method yet that it could be charged to.")
    methods = about.link(_("Add a payment method"), "payment_methods")
    return Message(
        title=_("Your trial of %(plan)s ends on %(day)s") % names,
        lead=lead,
        tone="warning" if needs_method else "info",
        facts=tuple(facts),
        more=(_("If you do not want to go on, cancel the plan before that day: nothing is charged then."),),
        action=methods if needs_method else _plan(about),
        further=(_plan(about),) if needs_method else (),
    )


def subscription_started(about: About) -> Message:
    """A plan has begun: plan_name. Also credits, seats, period_ends_at, trial_ends_at; trial_is_charged: usage in the
    trial is invoiced."""
    names = {"plan": about.text("plan_name")}
    credits = ""
    if about.payload.get("trial_ends_at"):
        credits = _("Credits in the trial")
        title = _("Your trial of %(plan)s has begun") % names
        lead = _("It runs until %(day)s. Then the plan begins, unless you cancel it before.") % {
            "day": _last_day(about, "trial_ends_at")
        }
        if about.payload.get("trial_is_charged"):
            lead += " " + _("The fee is free until then; what you use is charged at the plan's prices.")
        else:
            lead += " " + _(
                "Nothing is charged until then: when the trial's credits are used up, requests are refused."
            )
    else:
        title = _("Your plan %(plan)s has begun") % names
        lead = _("Thank you. From now on it renews by itself until you cancel it.")
    return Message(
        title=title,
        lead=lead,
        tone="good",
        facts=_terms(about, credits=credits),
        action=_plan(about),
        further=(_dashboard(about),),
    )


def plan_changed(about: About) -> Message:
    """Plan or seats are others from now on: plan_name. Also previous_plan_name, seats, credits, period_ends_at."""
    names = {"plan": about.text("plan_name"), "before": _maybe(about, "previous_plan_name")}
    if names["before"] and names["before"] != names["plan"]:
        title, lead = _("Your plan is now %(plan)s"), _("It was changed from %(before)s to %(plan)s.")
    else:
        title, lead = _("Your plan %(plan)s was changed"), _("What it includes from now on:")
    return Message(
        title=title % names, lead=lead % names, tone="good", facts=_terms(about), action=_plan(about),
        further=(about.link(_("See invoices"), "invoices"),),
    )  # fmt: skip


def change_scheduled(about: About) -> Message:
    """Plan or seats will be others: plan_name, ends_at (when that begins). Also previous_plan_name, seats, credits."""
    names = {
        "plan": about.text("plan_name"),
        "day": about.day("ends_at"),
        "before": _maybe(about, "previous_plan_name"),
    }
    if names["before"] and names["before"] != names["plan"]:
        title = _("Your plan changes to %(plan)s on %(day)s")
    else:
        title = _("Your plan %(plan)s changes on %(day)s")
    return Message(
        title=title % names,
        lead=_("Until then everything stays as it is, and you can withdraw the change."),
        facts=(*_terms(about), Fact(_("From"), names["day"])),
        action=_plan(about),
    )


def subscription_paused(about: About) -> Message:
    """The customer or staff let it rest: plan_name, ends_at (until when what is paid can be used)."""
    names = {"plan": about.text("plan_name"), "day": _last_day(about, "ends_at")}
    return Message(
        title=_("Your plan %(plan)s is paused") % names,
        lead=_("It does not renew. What you have can be used until %(day)s; after that, once you resume.") % names,
        tone="warning",
        facts=(Fact(_("Plan"), names["plan"]), Fact(_("Can be used until"), names["day"])),
        action=_plan(about, _("Resume it")),
    )


def subscription_resumed(about: About) -> Message:
    """It goes on: plan_name. Also period_ends_at, credits, seats."""
    names = {"plan": about.text("plan_name")}
    return Message(
        title=_("Your plan %(plan)s goes on") % names,
        lead=_("It renews by itself again until you pause or cancel it."),
        tone="good",
        facts=_terms(about),
        action=_plan(about),
    )


def subscription_cancelled(about: About) -> Message:
    """It runs out: plan_name, ends_at."""
    names = {"plan": about.text("plan_name"), "day": _last_day(about, "ends_at")}
    return Message(
        title=_("Your plan %(plan)s is cancelled") % names,
        lead=_("You can use it until %(day)s. It does not renew, and you can take the cancellation back.") % names,
        facts=(Fact(_("Plan"), names["plan"]), Fact(_("Can be used until"), names["day"])),
        action=_plan(about, _("Keep the plan")),
    )


def subscription_ended(about: About) -> Message:
    """It is over: plan_name, ends_at."""
    names = {"plan": about.text("plan_name"), "day": _last_day(about, "ends_at")}
    return Message(
        title=_("Your plan %(plan)s has ended") % names,
        lead=_("Its last day was %(day)s. Credits that you bought stay yours until they expire.") % names,
        facts=(Fact(_("Plan"), names["plan"]), Fact(_("Last day"), names["day"])),
        action=_plan(about, _("Choose a plan")),
        further=(about.link(_("See invoices"), "invoices"), _dashboard(about)),
    )


def _owed(about: About) -> tuple[Fact, ...]:
    return (Fact(_("Invoice"), about.text("number")), Fact(_("To pay"), about.money("total")))


def _due(about: About) -> tuple[Fact, ...]:
    return (Fact(_("Due"), about.day("due_at")),) if about.payload.get("due_at") else ()


def _reason(about: About) -> tuple[Fact, ...]:
    return (Fact(_("Reason"), reason),) if (reason := _maybe(about, "reason")) else ()


def _next_try(about: About) -> tuple[Fact, ...]:
    return (Fact(_("Next try"), about.day("next_try_at")),) if about.payload.get("next_try_at") else ()


def _what_helps(about: About) -> str:
    if about.payload.get("next_try_at"):
        return _("We try again on %(day)s. You can also pay now, or use another card: we charge it at once.") % {
            "day": about.day("next_try_at")
        }
    if about.payload.get("has_method") == "":
        return _("Add a payment method, and we charge it at once. Or pay now.")
    return _("We do not charge this payment method again by ourselves. Pay now, or use another: we charge it at once.")


def _how_it_is_paid(about: About) -> tuple[str, ...]:
    if "is_automatic" not in about.payload or not about.amount("total"):
        return ()
    if about.payload["is_automatic"]:
        return (_("We charge your payment method by ourselves and send you a receipt: you need do nothing."),)
    return (_("Please transfer the amount in time; the invoice says where to."),)


def _terms(about: About, *, credits: str = "") -> tuple[Fact, ...]:
    """What the plan is about, as far as the payload says. `credits` is what its credits are called, unless they are
    what the plan includes."""
    facts = [Fact(_("Plan"), about.text("plan_name"))]
    if about.payload.get("credits") and about.amount("credits") > 0:
        facts.append(Fact(credits or _("Credits included"), about.credits("credits")))
    if seats := int(about.payload.get("seats") or 0):
        facts.append(Fact(_("Seats"), str(seats)))
    if about.payload.get("trial_ends_at"):
        facts.append(Fact(_("Plan begins"), about.day("trial_ends_at")))
    elif about.payload.get("period_ends_at"):
        facts.append(Fact(_("Renews on"), about.day("period_ends_at")))
    return tuple(facts)


def _maybe(about: About, name: str) -> str:
    return about.text(name) if about.payload.get(name) else ""


def _last_day(about: About, name: str) -> str:
    """The last day of what ends at a moment: times end exclusively, and people count the day before."""
    return dateformat.format(about.moment(name) - timedelta(microseconds=1), "j F Y")


def _invoice(about: About) -> Link:
    return about.link(_("See the invoice"), "invoice", about.payload["invoice_id"])


def _plan(about: About, label: str = "") -> Link:
    return about.link(label or _("See your plan"), "plan")


def _dashboard(about: About) -> Link:
    return about.link(_("See credits and usage"), "dashboard")
