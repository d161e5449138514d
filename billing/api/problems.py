"""Every error code of the API: its status, its title and what it means. Codes are stable; texts may improve."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem."""

    status: int
    title: str
    meaning: str


KINDS: dict[str, Kind] = {
    # --- the request itself
    "invalid_request": Kind(400, "Invalid request", "Fields or query parameters are wrong; `errors` names each."),
    "malformed_json": Kind(
        400,
        "Malformed JSON",
        "The body is not one UTF-8 JSON document, nests deeper than 32, repeats a key in an object, or has NaN, "
        "Infinity, numbers beyond a double's range, NUL characters or unpaired surrogates.",
    ),
    "invalid_cursor": Kind(400, "Invalid cursor", "Pass `next_cursor` of an earlier answer unchanged."),
    "invalid_idempotency_key": Kind(
        400, "Invalid Idempotency-Key", "The header must be 1 to 255 visible ASCII characters."
    ),
    "bad_request": Kind(400, "Bad request", "The HTTP request cannot be understood."),
    "not_found": Kind(404, "Not found", "There is no such thing, or this key may not know of it."),
    "method_not_allowed": Kind(405, "Method not allowed", "The `Allow` header names what this address takes."),
    "length_required": Kind(411, "Length required", "Send a Content-Length; chunked bodies are not taken."),
    "payload_too_large": Kind(413, "Payload too large", "The body exceeds the limit; send it in parts."),
    "unsupported_media_type": Kind(415, "Unsupported media type", "The Content-Type is not one this address takes."),
    "too_many_requests": Kind(
        429,
        "Too many requests",
        "Wait `Retry-After` seconds. Requests count per key, wrong keys per client address, invitations per account, "
        "inviter and invited address.",
    ),
    "internal_error": Kind(
        500, "Internal error", "A fault of ours; quote `error_id` to the operator. Retrying with the same ids is safe."
    ),
    "unavailable": Kind(503, "Temporarily unavailable", "The database could not be reached in time; try again."),
    # --- who asks
    "authentication_required": Kind(401, "Authentication required", "Send `Authorization: Bearer <key>`."),
    "invalid_key": Kind(401, "Invalid key", "The key is unknown, expired or revoked."),
    "missing_scope": Kind(403, "Missing scope", "The key lacks `required_scope`."),
    "platform_key_required": Kind(403, "Platform key required", "A key bound to one account may not do this."),
    "forbidden": Kind(403, "Forbidden", "This is not allowed."),
    "invalid_signature": Kind(401, "Invalid signature", "The webhook is not signed by the gateway, or not lately."),
    # --- repeated requests
    "idempotency_key_reused": Kind(
        422, "Idempotency-Key reused", "The key was used for another request; take a new one."
    ),
    "request_in_progress": Kind(
        409, "Request in progress", "The first request with this Idempotency-Key runs; wait `Retry-After` seconds."
    ),
    "reference_conflict": Kind(
        409, "Reference conflict", "The reference names an earlier act that was another, or asked for something else."
    ),
    "id_conflict": Kind(409, "Id conflict", "The id names an earlier, different event or charge of this account."),
    # --- test clocks
    "no_sandbox": Kind(409, "No sandbox", "Only an account whose payments go to the sandbox gateway has a test clock."),
    "account_invoiced": Kind(
        409, "Account invoiced", "It has invoices or credits that were paid for: use another account for tests."
    ),
    "test_clock_exists": Kind(409, "Test clock exists", "The account is on a test clock: leave `starts_at` out."),
    "test_clock_behind": Kind(
        409, "Test clock behind", "A clock moves forward only, and begins after all that has happened to the account."
    ),
    "test_clock_moving": Kind(409, "Test clock moving", "The clock is on its way: ask how it stands, and wait."),
    "test_clock_too_far": Kind(409, "Test clock too far", "Move it by five years at most at once."),
    # --- credits
    "insufficient_credits": Kind(
        402, "Insufficient credits", "`required` credits were asked for, `available` are there; nothing was taken."
    ),
    "spend_limit": Kind(
        402, "Spend limit reached", "The member has `spent` of this month's `limit`; `available` credits are left."
    ),
    "not_enough_left": Kind(
        409, "Not enough left", "`required` credits were to be moved, `available` are free to move."
    ),
    "account_parked": Kind(409, "Account parked", "Staff must release the account first; usage is still recorded."),
    "paused": Kind(
        409,
        "Account paused",
        "Its subscription is paused, or something it owes is unpaid for too long; usage is still recorded.",
    ),
    "already_reversed": Kind(409, "Already reversed", "The act was reversed before; a reversal happens once."),
    "not_reversible": Kind(409, "Not reversible", "Acts of this kind are undone in other ways."),
    "reading_settled": Kind(
        409, "Reading settled", "The gauge's reading is so old that its level x time has been settled for good."
    ),
    "hold_closed": Kind(409, "Hold closed", "The hold was captured, released or has expired."),
    "hold_too_long": Kind(400, "Hold too long", "A hold ends within 24 hours from now; extend it later."),
    "amount_too_large": Kind(422, "Amount too large", "The result would be 10^18 credits or more."),
    # --- money
    "too_many_methods": Kind(409, "Too many payment methods", "The account has as many as it may; remove one first."),
    "no_gateway": Kind(409, "No payment gateway", "The operator has configured none, so no card can be kept."),
    "no_card_page": Kind(
        409, "No page for cards", "The account's gateway has no page where cards are typed: POST to `payment-methods`."
    ),
    "cards_on_page": Kind(
        409, "Cards are typed on the gateway's page", "Begin a card setup and send the customer to its `url`."
    ),
    "gateway_unavailable": Kind(503, "Payment gateway unavailable", "It gave no answer; try again."),
    "unknown_payment_method": Kind(
        422, "Unknown payment method", "The account has no such payment method, or no default one; add a card first."
    ),
    "pack_not_for_sale": Kind(422, "Pack not for sale", "The pack is none of this account's offers."),
    "amount_not_offered": Kind(
        422, "Amount not offered", "The pack is sold from `minimum` to `maximum` credits in steps of `step`."
    ),
    "threshold_too_high": Kind(
        422, "Threshold too high", "One top-up would not lift an empty pool above it: it must be less than `credits`."
    ),
    "cap_too_low": Kind(422, "Cap too low", "The month's money does not pay for one top-up, which costs `total`."),
    "invoice_not_payable": Kind(409, "Invoice not payable", "Nothing is owed on it: it is paid or void."),
    "invoice_not_voidable": Kind(
        409, "Invoice not voidable", "Money has come for it, or it is paid: only a credit note takes it back."
    ),
    "no_e_invoice": Kind(409, "No e-invoice", "The norm has no way to say this document; see `detail`."),
    "payment_under_way": Kind(
        409, "Payment under way", "Another attempt, `payment`, has neither succeeded nor failed; nothing was charged."
    ),
    "nothing_to_refund": Kind(409, "Nothing to refund", "No paid credits are left of it, neither held nor ended."),
    "not_refundable": Kind(409, "Not refundable", "It was never paid, or no payment has so much left to give back."),
    "not_creditable": Kind(
        409,
        "Not creditable",
        "The invoice is void, or nothing of it is left to credit; a pack is refunded as a purchase.",
    ),
    "credit_too_high": Kind(409, "Credit too high", "At most `left` of the invoice or the line can be credited."),
    "wrong_refund_to": Kind(
        422,
        "Wrong destination",
        "A paid invoice needs `refund_to`; one that is not paid has no money to give back, so leave it out.",
    ),
    "tax_unavailable": Kind(
        503, "Tax unavailable", "The tax service gave no answer, or lacks details of the account's place; see `reason`."
    ),
    "no_issuer": Kind(409, "No issuer", "The operator has not set up who issues invoices, so nothing can be sold."),
    # --- subscriptions
    "already_subscribed": Kind(409, "Already subscribed", "The account has a subscription: change it, or end it."),
    "plan_not_offered": Kind(422, "Plan not offered", "No such plan is on sale to the account, in that currency."),
    "seats_not_offered": Kind(422, "Seats not offered", "The plan is not sold for so many seats."),
    "coupon_refused": Kind(
        422,
        "Coupon refused",
        "`reason` says why the coupon cannot be redeemed; after 20 wrong codes in an hour, `too_many_guesses`.",
    ),
    "currency_fixed": Kind(422, "Currency fixed", "A subscription keeps its `currency`."),
    "nothing_to_change": Kind(422, "Nothing to change", "The subscription has that plan and those seats already."),
    "total_changed": Kind(409, "Total changed", "It costs `total` now, not `expected_total`; preview it again."),
    "credits_used": Kind(
        409, "Credits used", "Credits that would go back have been used: change at the end of the period."
    ),
    "invoice_unpaid": Kind(
        409,
        "Invoice unpaid",
        "Pay the subscription's open or disputed invoice first, or change at the end of the period.",
    ),
    "subscription_state": Kind(409, "Not in this state", "The subscription's `state` does not allow it."),
    "renewal_due": Kind(409, "Renewal due", "A period has just ended and is being renewed; try again in a moment."),
    "nothing_scheduled": Kind(409, "Nothing scheduled", "No change waits for the end of the period."),
    "terms_overlap": Kind(409, "Terms overlap", "Other contract terms are agreed for a part of that time."),
    # --- accounts
    "external_id_taken": Kind(409, "External id taken", "Another account has this external_id."),
    "already_member": Kind(409, "Already a member", "The person of this address has a place in the account."),
    "pool_key_taken": Kind(409, "Pool key taken", "Another pool of the account has this key."),
    # --- usage: why an event is rejected (it is kept, for replay), or a charge refused
    "invalid_event": Kind(422, "Invalid event", "It is not an event in the flat form or a CloudEvent 1.0."),
    "unknown_field": Kind(422, "Unknown field", "The event has a field that events do not have."),
    "missing_field": Kind(422, "Missing field", "The event lacks a field that it needs."),
    "invalid_field": Kind(422, "Invalid field", "A field of the event is not what it should be."),
    "invalid_quantity": Kind(
        422, "Invalid quantity", "A quantity is zero or more, with at most 18 digits before the point and 6 after."
    ),
    "invalid_properties": Kind(
        422, "Invalid properties", "Properties are up to 50 short texts, numbers, booleans or nulls by name."
    ),
    "missing_property": Kind(422, "Missing property", "The meter needs a property that the event lacks."),
    "invalid_time": Kind(422, "Invalid time", "A time is RFC 3339 with an offset."),
    "time_ahead": Kind(422, "Time ahead", "The time lies further ahead than clocks may differ."),
    "time_too_old": Kind(422, "Time too old", "It happened longer ago than is taken here; import it instead."),
    "unknown_account": Kind(422, "Unknown account", "No account has this id or external_id."),
    "unknown_meter": Kind(422, "Unknown meter", "No meter in use has this key."),
    "unknown_pool": Kind(422, "Unknown pool", "The account has no pool with this key."),
    "unknown_member": Kind(422, "Unknown member", "The account has no such member."),
    "no_rate": Kind(422, "No rate", "The account's rate card has no rate for this meter and these properties."),
}
