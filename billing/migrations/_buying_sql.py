"""Documents that cannot change, and acts that stay."""

from billing.migrations._foundation_sql import refuse_changes

# An issued invoice changes in how it stands (paid, credited, refunded, void) and in nothing that its document says.
_ISSUED = """
CREATE FUNCTION florin_keep_issued_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    free text[] := ARRAY['state', 'amount_paid', 'amount_credited', 'amount_refunded', 'paid_at', 'voided_at'];
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
CREATE TRIGGER issued_immutable BEFORE UPDATE OR DELETE ON billing_invoice
    FOR EACH ROW EXECUTE FUNCTION florin_keep_issued_invoice();
ALTER TABLE billing_invoice ENABLE ALWAYS TRIGGER issued_immutable;

CREATE FUNCTION florin_keep_issued_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    free text[] := ARRAY['amount_credited', 'tax_credited', 'credits_refunded', 'fulfilled_at', 'posting_id'];
    touched bigint[] := CASE TG_OP
        WHEN 'INSERT' THEN ARRAY[NEW.invoice_id]
        WHEN 'DELETE' THEN ARRAY[OLD.invoice_id]
        ELSE ARRAY[OLD.invoice_id, NEW.invoice_id] END;
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(NEW) - free IS NOT DISTINCT FROM to_jsonb(OLD) - free
        AND (OLD.posting_id IS NULL OR NEW.posting_id = OLD.posting_id) THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT 1 FROM billing_invoice WHERE id = ANY (touched) AND issued_at IS NOT NULL) THEN
        RAISE EXCEPTION 'line of an issued invoice: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER issued_immutable BEFORE INSERT OR UPDATE OR DELETE ON billing_invoiceline
    FOR EACH ROW EXECUTE FUNCTION florin_keep_issued_line();
ALTER TABLE billing_invoiceline ENABLE ALWAYS TRIGGER issued_immutable;
"""

# Numbers are drawn one by one and never given back: whoever writes an issuer's row, a form with old values included.
_NUMBERS = """
CREATE FUNCTION florin_draw_one_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.last_invoice_number NOT IN (OLD.last_invoice_number, OLD.last_invoice_number + 1)
        OR NEW.last_credit_note_number NOT IN (OLD.last_credit_note_number, OLD.last_credit_note_number + 1) THEN
        RAISE EXCEPTION 'numbers of issuer % are drawn one by one', OLD.key USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER numbers_gapless BEFORE UPDATE ON billing_issuer
    FOR EACH ROW EXECUTE FUNCTION florin_draw_one_number();
ALTER TABLE billing_issuer ENABLE ALWAYS TRIGGER numbers_gapless;
"""

# As `createcachetable` would make it, but unlogged: what it holds is for minutes, and a crash may lose it.
_CACHE = """
CREATE UNLOGGED TABLE florin_cache (
    cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamp with time zone NOT NULL
);
CREATE INDEX florin_cache_expires ON florin_cache (expires);
"""

APPEND_ONLY = ("billing_staffact", "billing_accountnote", "billing_creditnote", "billing_creditnoteline")

FORWARD = _ISSUED + _NUMBERS + _CACHE + "".join(refuse_changes(table) for table in APPEND_ONLY)
