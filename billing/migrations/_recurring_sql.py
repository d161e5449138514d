"""What the third migration needs beyond Django's own operations: published plans that cannot change, histories that stay."""

from billing.migrations._foundation_sql import refuse_changes

# A published version is for ever, and so are its prices; a draft may be edited and deleted.
_PUBLISHED = """
CREATE FUNCTION florin_keep_published_plan() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.published_at IS NOT NULL THEN
        RAISE EXCEPTION 'plan version % is published: % refused', OLD.id, TG_OP USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER published_immutable BEFORE UPDATE OR DELETE ON billing_planversion
    FOR EACH ROW EXECUTE FUNCTION florin_keep_published_plan();
ALTER TABLE billing_planversion ENABLE ALWAYS TRIGGER published_immutable;

CREATE FUNCTION florin_keep_published_plan_price() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched bigint[] := CASE TG_OP
        WHEN 'INSERT' THEN ARRAY[NEW.version_id]
        WHEN 'DELETE' THEN ARRAY[OLD.version_id]
        ELSE ARRAY[OLD.version_id, NEW.version_id] END;
BEGIN
    IF EXISTS (SELECT 1 FROM billing_planversion WHERE id = ANY (touched) AND published_at IS NOT NULL) THEN
        RAISE EXCEPTION 'price of a published plan version: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER published_immutable BEFORE INSERT OR UPDATE OR DELETE ON billing_planprice
    FOR EACH ROW EXECUTE FUNCTION florin_keep_published_plan_price();
ALTER TABLE billing_planprice ENABLE ALWAYS TRIGGER published_immutable;
"""

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
