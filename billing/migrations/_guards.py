"""What the tables need beyond Django's own operations: guards that hold for every role, and storage hints."""

APPEND_ONLY = (
    "billing_posting",
    "billing_ledgerentry",
    "billing_usageevent",
    "billing_eventreversal",
    "billing_ledgerseal",
    "billing_sealedrange",
    "billing_staffact",
    "billing_accountnote",
    "billing_creditnote",
    "billing_creditnoteline",
    "billing_subscriptionchange",
)
CATALOG = (
    "billing_meter",
    "billing_ratecard",
    "billing_ratecardversion",
    "billing_rate",
)

_REFUSE = """
CREATE FUNCTION florin_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
"""
_REFUSE_TRIGGER = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION florin_refuse_change();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only;
"""

# A published version and its parts never change; the publishing itself is the last change a version sees. Whoever edits
# a part waits for a publication under way, and a publication (which locks the version) for what is being edited.
_PUBLISHED = """
CREATE FUNCTION {keep_version}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.published_at IS NOT NULL THEN
        RAISE EXCEPTION '{version} % is published: % refused', OLD.id, TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER published_immutable BEFORE UPDATE OR DELETE ON {versions}
    FOR EACH ROW EXECUTE FUNCTION {keep_version}();
ALTER TABLE {versions} ENABLE ALWAYS TRIGGER published_immutable;

CREATE FUNCTION {keep_part}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE touched bigint[];
BEGIN
    touched := CASE TG_OP
        WHEN 'INSERT' THEN ARRAY[NEW.version_id]
        WHEN 'DELETE' THEN ARRAY[OLD.version_id]
        ELSE ARRAY[OLD.version_id, NEW.version_id] END;
    PERFORM 1 FROM {versions} v WHERE v.id = ANY (touched) FOR SHARE;
    IF EXISTS (SELECT 1 FROM {versions} v WHERE v.id = ANY (touched) AND v.published_at IS NOT NULL) THEN
        RAISE EXCEPTION '{part} of a published {version}: % refused', TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER published_immutable BEFORE INSERT OR UPDATE OR DELETE ON {parts}
    FOR EACH ROW EXECUTE FUNCTION {keep_part}();
ALTER TABLE {parts} ENABLE ALWAYS TRIGGER published_immutable;
"""

# Every change of what prices depend on raises the revision in its own transaction; processes reload when it has risen.
_REVISION = """
CREATE FUNCTION florin_raise_catalog_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_catalogrevision (id, revision)
    VALUES (1, floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    ON CONFLICT (id) DO UPDATE SET revision = greatest(billing_catalogrevision.revision + 1, EXCLUDED.revision);
    RETURN NULL;
END $$;
"""
_REVISION_TRIGGER = """
CREATE TRIGGER catalog_revision AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION florin_raise_catalog_revision();
"""

# An issued invoice changes in how it stands (paid, credited, refunded, void) and in nothing that its document says.
_ISSUED = """
CREATE FUNCTION florin_keep_issued_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    free text[] := ARRAY['state', 'amount_paid', 'amount_credited', 'amount_refunded', 'paid_at', 'voided_at',
        'uncollectible_at'];
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

# Balances change in place all the time: room on the page keeps those updates off the indexes (HOT).
_STORAGE = """
ALTER TABLE billing_creditpool SET (fillfactor = 50);
ALTER TABLE billing_creditgrant SET (fillfactor = 50);
ALTER TABLE billing_usagecounter SET (fillfactor = 70);
ALTER TABLE billing_dailyusage SET (fillfactor = 70);
"""

# Vacuum enters new pages into the BRIN index by arrival; until then each listing of events reads them all. By default
# that would wait for a fifth of the table.
_SUMMARIES = """
ALTER TABLE billing_usageevent SET
    (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
"""


def refuse_changes(table: str) -> str:
    """SQL that makes a table append-only for every role."""
    return _REFUSE_TRIGGER.format(table=table)


def keep_published(*, versions: str, keep_version: str, version: str, parts: str, keep_part: str, part: str) -> str:
    """SQL that lets nobody change published rows of the table `versions`, nor rows of the table `parts` that have the
    `version_id` of one. `keep_version` and `keep_part` name the functions; `version` and `part` are for people."""
    return _PUBLISHED.format(
        versions=versions, keep_version=keep_version, version=version, parts=parts, keep_part=keep_part, part=part
    )


FORWARD = "".join(
    [
        _REFUSE,
        *(refuse_changes(table) for table in APPEND_ONLY),
        keep_published(
            versions="billing_ratecardversion", keep_version="florin_keep_published_version",
            version="rate card version", parts="billing_rate", keep_part="florin_keep_published_rate", part="rate",
        ),
        keep_published(
            versions="billing_planversion", keep_version="florin_keep_published_plan", version="plan version",
            parts="billing_planprice", keep_part="florin_keep_published_plan_price", part="price",
        ),
        _ISSUED,
        _NUMBERS,
        _REVISION,
        *(_REVISION_TRIGGER.format(table=table) for table in CATALOG),
        _CACHE,
        _STORAGE,
        _SUMMARIES,
    ]
)  # fmt: skip
