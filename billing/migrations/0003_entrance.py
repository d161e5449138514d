"""Addresses in lower case, and verified for the people there are; the table of the cache that processes share."""

from django.db import migrations

_ADDRESSES = """
UPDATE billing_user SET email = lower(email) WHERE email <> lower(email);
INSERT INTO account_emailaddress (user_id, email, verified, "primary")
    SELECT id, email, true, true FROM billing_user
    WHERE email <> '' AND NOT EXISTS (SELECT 1 FROM account_emailaddress WHERE user_id = billing_user.id);
"""

# As `createcachetable` would make it, but unlogged: what it holds is for minutes, and a crash may lose it.
_CACHE = """
CREATE UNLOGGED TABLE florin_cache (
    cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamp with time zone NOT NULL
);
CREATE INDEX florin_cache_expires ON florin_cache (expires);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0002_buying"),
        ("account", "0009_emailaddress_unique_primary_email"),
    ]

    operations = [
        migrations.RunSQL(_ADDRESSES, migrations.RunSQL.noop),
        migrations.RunSQL(_CACHE, "DROP TABLE florin_cache"),
    ]
