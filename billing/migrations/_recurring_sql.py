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

FORWARD = _PUBLISHED + refuse_changes("billing_subscriptionchange")
