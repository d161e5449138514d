"""Published plans that cannot change, and histories that stay."""

from billing.migrations._foundation_sql import keep_published, refuse_changes

_PUBLISHED = keep_published(
    versions="billing_planversion", keep_version="florin_keep_published_plan", version="plan version",
    parts="billing_planprice", keep_part="florin_keep_published_plan_price", part="price",
)  # fmt: skip

# As in the migration before, and that an invoice may be given up.
_ISSUED = """
CREATE OR REPLACE FUNCTION florin_keep_issued_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    free text[] := ARRAY['state', 'amount_paid', 'amount_credited', 'amount_refunded', 'paid_at', 'voided_at',
        'given_up_at'];
BEGIN
    IF OLD.issued_at IS NULL THEN
        IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' OR to_jsonb(NEW) - free IS DISTINCT FROM to_jsonb(OLD) - free THEN
        RAISE EXCEPTION 'invoice % is issued: % refused', OLD.number, TG_OP USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
"""

FORWARD = _PUBLISHED + _ISSUED + refuse_changes("billing_subscriptionchange")
