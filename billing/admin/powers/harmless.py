"""Doors that move no money, credits or rights, and why."""

_CATALOG = "says what is sold and at what price; nothing moves until a customer buys, renews or uses"
_TAX = "says what later documents state; moves nothing"
_DRAFT = "nobody owes what a draft says until it is issued"
_AGREED = "what the customer agreed to, at the price agreed"
_OWED = "collects what the customer owes by an issued invoice, as Florin does by itself"
_ASKS = "asks others how something stands, and records the answer"
_SECOND = "is the second person's decision, or its author's withdrawal"
_READS = "shows something"
_TAKES = "takes rights away"

HARMLESS: dict[str, str] = {
    # --- Accounts and people ------------------------------------------------------------------------------------------
    "billing_account_add": "opens an empty account without members",
    "billing_account_clock": "only accounts that pay by the sandbox have a clock that can be moved",
    "billing_account_overview": _READS,
    "billing_account_look": "looks at the portal as a viewer and can write nothing",
    "billing_account_end_look": "ends looking at the portal",
    "billing_account_note": "keeps a note for colleagues",
    "billing_account.release": "lets an account use what it has",
    "billing_user.send_password_link": "lets the person choose a password from an e-mail",
    "billing_user_add": "makes a person without rights, who chooses the password from an e-mail",
    "billing_user.switch_off_second_factor": "opens nothing without the password; the person is told",
    "auth_group_add": "a group without people gives nobody a right",
    "auth_group_delete": _TAKES,
    "billing_user_sessions": "signs a person out",
    "billing_member.remove": _TAKES,
    "billing_apikey.revoke": _TAKES,
    "billing_apikey_change": _READS,
    "billing_apikey_secret": "shows, once, the secret of a key that was limited when it was asked for",
    "billing_approval_approve": _SECOND,
    "billing_approval_reject": _SECOND,
    "billing_approval_withdraw": _SECOND,
    # --- Catalog ------------------------------------------------------------------------------------------------------
    **dict.fromkeys(
        (
            "billing_meter_add", "billing_meter_change", "billing_meter.archive", "billing_meter.restore",
            "billing_coupon_add", "billing_coupon_change", "billing_pack_add", "billing_pack_change",
            "billing_pack_publish", "billing_pack_retire", "billing_pack_draft", "billing_plan_add",
            "billing_plan_change", "billing_plan_draft", "billing_plan_retire", "billing_planversion_change",
            "billing_planversion_publish", "billing_planversion_draft", "billing_ratecard_add",
            "billing_ratecard_change", "billing_ratecard_draft", "billing_ratecardversion_change",
            "billing_ratecardversion_publish", "billing_ratecardversion_draft", "billing_ratecardassignment_add",
            "billing_ratecardassignment_change", "billing_dunningpolicy_add", "billing_dunningpolicy_change",
        ),
        _CATALOG,
    ),
    **dict.fromkeys(("billing_plan_compare", "billing_planversion.compare", "billing_ratecardversion_preview"), _READS),
    # --- Invoices, tax and payments -----------------------------------------------------------------------------------
    **dict.fromkeys(("billing_invoice_draft", "billing_invoice_edit", "billing_invoice_discard"), _DRAFT),
    **dict.fromkeys(("billing_invoice_check", "billing_invoice_pdf", "billing_creditnote_pdf"), _READS),
    "billing_issuer_add": "invoices nothing until it is made the default one",
    "billing_taxrate_add": _TAX,
    "billing_taxrate_change": _TAX,
    "billing_taxrate_delete": _TAX,
    "billing_taxexemption_add": _TAX,
    "billing_taxexemption_change": _TAX,
    "billing_taxexemption_withdraw": _TAX,
    "billing_taxnumbercheck_ask": _ASKS,
    "billing_payment_ask": _ASKS,
    "billing_payment.ask": _ASKS,
    "billing_refund.ask": _ASKS,
    "billing_gatewayevent.try_again": "acts on what a gateway reported, as Florin does by itself",
    "billing_gatewayevent.dismiss": "leaves a report aside; it is kept, with its error",
    "billing_payment_retry": _OWED,
    "billing_collection_retry": _OWED,
    "billing_collection_stop": "the invoice stays owed; nobody asks for the money until somebody does",
    "billing_refund.try_again": "sends a refund that was limited when it was asked for",
    "billing_refund.sent_by_hand": "records how a refund ended that was limited when it was asked for",
    **dict.fromkeys(
        ("billing_sandboxcharge_dispute", "billing_sandboxcharge_lose", "billing_sandboxcharge_win"),
        "plays the payer and the bank at the sandbox, which moves no real money",
    ),
    # --- Subscriptions ------------------------------------------------------------------------------------------------
    **dict.fromkeys(
        (
            "billing_subscription_pause", "billing_subscription_resume", "billing_subscription_reactivate",
            "billing_subscription_withdraw", "billing_subscription_release",
        ),
        _AGREED,
    ),
    # --- Metering, notifications, the rest ----------------------------------------------------------------------------
    "billing_rejectedevent_change": _READS,
    "billing_rejectedevent.replay": "charges what customers used and sent, at the price agreed",
    "billing_rejectedevent.dismiss": "leaves uncharged what could not be read; the event is kept",
    "billing_usage_events": _READS,
    "billing_notification_change": _READS,
    "billing_notification.look_again": "sends again what was to be sent",
    "billing_notification.dismiss": "sends nothing",
    "billing_notificationdelivery.dismiss": "sends nothing",
    "billing_notificationdelivery_change": _READS,
    "billing_notificationdelivery.retry": "sends again what was to be sent",
    "billing_staffact_export": _READS,
}  # fmt: skip
