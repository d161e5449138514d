"""Messages about money: receipts, failed payments, refunds, automatic top-ups."""

from django.utils.translation import gettext as _

from billing.notifications.messages import About, Fact, Link, Message


def receipt(about: About) -> Message:
    """An invoice is paid; its credits, if it has any, are there. `top_up_of` names the pool of an automatic top-up."""
    names = {
        "number": about.text("number"),
        "total": about.money("total"),
        "credits": about.credits("credits"),
        "pool": about.text("top_up_of") if about.payload.get("top_up_of") else "",
    }
    facts = [Fact(_("Invoice"), names["number"]), Fact(_("Paid"), names["total"])]
    if about.amount("credits") > 0:
        facts.append(Fact(_("Credits added"), names["credits"]))
    if names["pool"]:
        title = _("%(credits)s credits added by automatic top-up")
        lead = _("%(pool)s was running low, so we bought %(credits)s credits for %(total)s: invoice %(number)s.")
        facts.append(Fact(_("Pool"), names["pool"]))
    else:
        title = _("Receipt for invoice %(number)s")
        lead = _("Thank you: we have received your payment of %(total)s.")
    pdf = about.link(_("Download it as PDF"), "invoice_pdf", about.payload["invoice_id"])
    return Message(
        title=title % names,
        lead=lead % names,
        tone="good",
        facts=tuple(facts),
        action=_invoice(about),
        further=(pdf, _rule(about, _("Change automatic top-up"))) if names["pool"] else (pdf,),
    )


def payment_failed(about: About) -> Message:
    """A payment of an invoice was refused."""
    names = {"number": about.text("number"), "total": about.money("total"), "reason": about.text("reason")}
    facts = [Fact(_("Invoice"), names["number"]), Fact(_("To pay"), names["total"])]
    if names["reason"]:
        facts.append(Fact(_("Reason"), names["reason"]))
    return Message(
        title=_("Your payment of %(total)s did not go through") % names,
        lead=_("Invoice %(number)s for %(total)s is still to be paid. Nothing was charged.") % names,
        tone="bad",
        facts=tuple(facts),
        action=about.link(_("Pay now"), "invoice", about.payload["invoice_id"]),
        further=(about.link(_("Change the payment method"), "payment_methods"), _invoice(about)),
    )


def refund(about: About) -> Message:
    """Money goes back, and what is left of the credits it bought with it."""
    names = {"number": about.text("number"), "total": about.money("total"), "credits": about.credits("credits")}
    facts = [Fact(_("Credit note"), names["number"]), Fact(_("Refunded"), names["total"])]
    if about.payload.get("invoice_number"):
        facts.insert(0, Fact(_("Invoice"), about.text("invoice_number")))
    if about.amount("credits") > 0:
        facts.append(Fact(_("Credits taken back"), names["credits"]))
    return Message(
        title=_("Refund of %(total)s") % names,
        lead=_("We give back %(total)s to the payment method that was charged. The credit note is %(number)s.") % names,
        facts=tuple(facts),
        more=(_("Depending on your bank it takes a few days to arrive."),),
        action=about.link(_("See invoices and credit notes"), "invoices"),
    )


def dispute(about: About) -> Message:
    """A bank has taken money of an invoice back, or given it back again: state `open`, `won` (by the seller) or `lost`,
    invoice_id, invoice_number, total, currency. Also number: of the credit note; is_refund: it was a refund by staff at
    the payment provider."""
    names = {"number": about.text("number"), "invoice": about.text("invoice_number"), "total": about.money("total")}
    facts = [Fact(_("Invoice"), names["invoice"]), Fact(_("Amount"), names["total"])]
    if names["number"]:
        facts.append(Fact(_("Credit note"), names["number"]))
    more: tuple[str, ...] = ()
    state = about.text("state")
    if state == "open":
        title = _("Your bank has taken back %(total)s of invoice %(invoice)s")
        lead = _("The payment is disputed. Until that is decided, the credits that it paid for are taken back.")
        more = (_("If you did not mean this, tell your bank that the charge is right."),)
    elif state == "won":
        title = _("The payment of %(total)s for invoice %(invoice)s counts again")
        lead = _("The dispute is closed, the money is with us again, and so are your credits.")
    elif about.payload.get("is_refund"):
        title = _("Refund of %(total)s for invoice %(invoice)s")
        lead = _("The money goes back to the payment method that was charged; the credits that it paid for are gone.")
        more = (_("Depending on your bank it takes a few days to arrive."),)
    else:
        title = _("%(total)s of invoice %(invoice)s stay with your bank")
        lead = _("The dispute is decided: you keep the money, and the credits that it paid for are gone.")
    if state == "lost" and not names["number"]:
        more = (*more, _("The amount is owed again on the invoice."))
    return Message(
        title=title % names,
        lead=lead,
        tone="good" if state == "won" else "warning",
        facts=tuple(facts),
        more=more,
        action=about.link(_("See the invoice"), "invoice", about.payload["invoice_id"]),
    )


def credit_note(about: About) -> Message:
    """Something was taken back of an invoice, and where its money goes."""
    names = {name: about.text(name) for name in ("number", "invoice_number")} | {"total": about.money("total")}
    facts = [
        Fact(_("Credit note"), names["number"]),
        Fact(_("Invoice"), names["invoice_number"]),
        Fact(_("Total"), names["total"]),
        Fact(_("Reason"), about.text("reason")),
    ]
    more: tuple[str, ...] = ()
    match about.text("refund_to"):
        case "payment":
            lead = _("We refund %(total)s of invoice %(invoice_number)s to the payment method that was charged.")
            more = (_("Depending on your bank it takes a few days to arrive."),)
        case "balance":
            lead = _("You have a credit of %(total)s from invoice %(invoice_number)s. It will pay your next invoices.")
        case _:
            lead = _("Invoice %(invoice_number)s is reduced by %(total)s.")
    return Message(
        title=_("Credit note for %(total)s") % names,
        lead=lead % names,
        facts=tuple(facts),
        more=more,
        action=about.link(_("See invoices and credit notes"), "invoices"),
    )


def top_up_failed(about: About) -> Message:
    """A pool ran low and could not be filled up: a payment failed, or the rule may buy no more this month."""
    names = {"pool": about.text("pool_name"), "reason": about.text("reason")}
    facts = [Fact(_("Pool"), names["pool"])]
    if names["reason"]:
        facts.append(Fact(_("Reason"), names["reason"]))
    if about.payload.get("waits_until"):
        facts.append(Fact(_("Next try"), about.minute("waits_until")))
    if about.payload.get("is_capped"):
        return Message(
            title=_("Automatic top-up of %(pool)s pauses") % names,
            lead=_("%(pool)s is running low, but automatic top-up has bought as much as it may this month.") % names,
            tone="warning",
            facts=tuple(facts),
            action=_rule(about, _("Change the monthly limit")),
            further=(about.link(_("Buy credits"), "buy"),),
        )
    return Message(
        title=_("Automatic top-up of %(pool)s failed") % names,
        lead=_("%(pool)s is running low, but no credits could be bought for it. Nothing was charged.") % names,
        tone="bad",
        facts=tuple(facts),
        more=(_("If the pool is still low then, we try again by ourselves. Another card is tried at once."),),
        action=about.link(_("Check your payment methods"), "payment_methods"),
        further=(about.link(_("Buy credits"), "buy"), _rule(about, _("See automatic top-up"))),
    )


def top_up_switched_off(about: About) -> Message:
    """A rule has given up, or reached what it may spend."""
    names = {"pool": about.text("pool_name"), "reason": about.text("reason")}
    facts = [Fact(_("Pool"), names["pool"])]
    if names["reason"]:
        facts.append(Fact(_("Reason"), names["reason"]))
    return Message(
        title=_("Automatic top-up of %(pool)s is switched off") % names,
        lead=_("%(pool)s is not filled up by itself any more until you switch automatic top-up on again.") % names,
        tone="bad",
        facts=tuple(facts),
        action=_rule(about, _("Switch it on again")),
        further=(about.link(_("Check your payment methods"), "payment_methods"), about.link(_("Buy credits"), "buy")),
    )


def _invoice(about: About) -> Link:
    return about.link(_("See the invoice"), "invoice", about.payload["invoice_id"])


def _rule(about: About, label: str) -> Link:
    return about.link(label, "top_ups")
