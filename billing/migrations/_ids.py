"""Primary keys that count nothing, because public ids are made of them (billing/accounts/ids.py).

A key is a positive bigint: 51 bits of time, in microseconds since 2025 (they last until 2096), then 12 bits. Those are
the next value of one sequence, which makes keys of one microsecond differ, XORed with bits that follow from the
microsecond and a secret, so that they show nothing of the sequence. It is what UUIDv7 does in 16 bytes, without a
second column, its index, and a join to it wherever a row names another.

The secret is drawn here, stays in the function's body and goes with a dump of the database; SECRET_KEY has no part in
it. Whoever knew it would learn the last 12 bits of a count, and nothing is made from it again: keys are stored.
"""

# Written with each event or request, and named by nothing outside the database: they keep Django's counters.
COUNTED = (
    "billing_dailyusage",
    "billing_gaugereading",
    "billing_holdline",
    "billing_idempotencykey",
    "billing_rejectedevent",
    "billing_sealedrange",
    "billing_uniquevalue",
    "billing_usagecounter",
)

# `ahead`: so many microseconds later than now, for whoever draws more keys than the sequence has values.
_MOMENT = """
CREATE SEQUENCE florin_id AS bigint MINVALUE 0 MAXVALUE 4095 CYCLE;
DO $do$ BEGIN EXECUTE format($sql$
CREATE FUNCTION florin_moment(ahead int DEFAULT 0) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $body$
DECLARE
    micros bigint := (date_part('epoch', clock_timestamp()) * 1000000)::bigint - 1735689600000000 + ahead;
    hidden bytea := sha256(int8send(micros) || %L::bytea);
BEGIN
    RETURN (micros << 12) | ((get_byte(hidden, 0) << 8 | get_byte(hidden, 1)) & 4095);
END $body$
$sql$, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())); END $do$;
"""
# Django makes identity columns, whose default cannot be changed.
_DEFAULTS = """
DO $do$ DECLARE name text; BEGIN
    FOR name IN
        SELECT table_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND table_name LIKE 'billing\\_%' AND column_name = 'id'
            AND is_identity = 'YES' AND table_name NOT IN ({counted})
    LOOP
        EXECUTE format('ALTER TABLE %I ALTER id DROP IDENTITY, ALTER id SET DEFAULT florin_moment() # nextval(%L)',
                       name, 'florin_id');
    END LOOP;
END $do$;
"""
FORWARD = (_MOMENT + _DEFAULTS).replace("{counted}", ", ".join(f"'{table}'" for table in COUNTED))
