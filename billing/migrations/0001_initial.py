"""All tables of billing, and the triggers that guard them."""

import uuid
from decimal import Decimal

import django.contrib.postgres.constraints
import django.contrib.postgres.fields
import django.contrib.postgres.fields.ranges
import django.contrib.postgres.indexes
import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.text
import djmoney.models.fields
from django.conf import settings
from django.contrib.postgres.operations import BtreeGistExtension
from django.db import migrations, models

import billing.accounts.fields
import billing.catalog.models
import billing.invoicing.models
import billing.invoicing.tax_models
import billing.invoicing.transfers
import billing.ledger.models
import billing.subscriptions.models
from billing.migrations import _guards, _ids
from billing.migrations._together import Together


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    tables = [
        migrations.CreateModel(
            name="CatalogRevision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("revision", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="ImportRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("name", models.CharField(max_length=200)),
                ("rows_done", models.BigIntegerField(default=0)),
                ("accepted", models.BigIntegerField(default=0)),
                ("duplicates", models.BigIntegerField(default=0)),
                ("conflicts", models.BigIntegerField(default=0)),
                ("rejected", models.BigIntegerField(default=0)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Plan",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=60,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9._-]{0,59}\\Z",
                                "Use 1 to 60 lower-case letters, digits or . _ - and start with a letter or digit.",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("description", models.CharField(blank=True, max_length=300)),
                ("tax_category", models.CharField(default="standard", max_length=20)),
                (
                    "position",
                    models.PositiveSmallIntegerField(default=0, help_text="Where it stands among the plans on offer."),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "retired_at",
                    models.DateTimeField(blank=True, help_text="Sold no longer; subscriptions go on.", null=True),
                ),
            ],
            options={
                "ordering": ("position", "id"),
            },
        ),
        migrations.CreateModel(
            name="SandboxCard",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=100, unique=True)),
                (
                    "behaviour",
                    models.CharField(
                        choices=[
                            ("success", "Success"),
                            ("decline", "Decline"),
                            ("insufficient", "Insufficient"),
                            ("expired", "Expired"),
                            ("action", "Action"),
                            ("off_session", "Declined off-session"),
                            ("slow", "Slow"),
                            ("slow_decline", "Slow Decline"),
                            ("lost_answer", "Lost Answer"),
                            ("blackout", "Blackout"),
                            ("late", "Late"),
                            ("very_late", "Very Late"),
                            ("refund_fails", "Refund Fails"),
                            ("wears_out", "Wears Out"),
                            ("disputed", "Disputed"),
                        ],
                        max_length=20,
                    ),
                ),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="TaxCalculation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.CharField(max_length=64, unique=True)),
                ("engine", models.CharField(max_length=10)),
                ("reference", models.CharField(blank=True, help_text="The engine's own id.", max_length=80)),
                ("sale", models.JSONField()),
                ("lines", models.JSONField()),
                ("created_at", models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.CreateModel(
            name="User",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                ("email", billing.accounts.fields.LowerEmailField(max_length=254)),
                ("name", models.CharField(blank=True, max_length=120)),
                ("is_staff", models.BooleanField(default=False, help_text="May open the staff admin.")),
                ("is_active", models.BooleanField(default=True, help_text="Switch off instead of deleting.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={
                "permissions": (("end_sessions", "Can sign people out"),),
                "constraints": [
                    models.UniqueConstraint(django.db.models.functions.text.Lower("email"), name="user_email_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="Account",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                (
                    "external_id",
                    models.CharField(
                        max_length=100, unique=True, validators=[billing.accounts.fields.validate_external_id]
                    ),
                ),
                ("billing_email", models.EmailField(max_length=254)),
                (
                    "country",
                    models.CharField(
                        max_length=2,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Z]{2}\\Z", "Use the two-letter ISO 3166-1 code, e.g. DE."
                            )
                        ],
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        default="USD", max_length=3, validators=[billing.accounts.fields.validate_currency]
                    ),
                ),
                (
                    "time_zone",
                    models.CharField(
                        default="UTC", max_length=64, validators=[billing.accounts.fields.validate_time_zone]
                    ),
                ),
                ("tax_number", models.CharField(blank=True, max_length=32)),
                (
                    "address",
                    models.TextField(blank=True, help_text="As invoices show it, without the country.", max_length=500),
                ),
                (
                    "region",
                    models.CharField(
                        blank=True, help_text="ISO 3166-2 code without the country, e.g. CA.", max_length=10
                    ),
                ),
                (
                    "gateway",
                    models.CharField(
                        blank=True, help_text="Who collects its payments; empty: as the settings say.", max_length=20
                    ),
                ),
                (
                    "postal_code",
                    models.CharField(blank=True, help_text="Where tax depends on it, as in the US.", max_length=16),
                ),
                (
                    "segment_override",
                    models.CharField(blank=True, help_text="Wins over the computed segment.", max_length=40),
                ),
                ("created_at", models.DateTimeField()),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("parked_at", models.DateTimeField(blank=True, null=True)),
                ("parked_reason", models.CharField(blank=True, max_length=200)),
                (
                    "clock_at",
                    models.DateTimeField(
                        blank=True, editable=False, help_text="Its time, if on a test clock.", null=True
                    ),
                ),
                (
                    "account_manager",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="managed_accounts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "permissions": (
                    ("impersonate_account", "Can look at the portal as an account's viewer"),
                    ("view_figures", "Can see the business figures"),
                ),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("external_id__startswith", "acc_"), _negated=True),
                        name="account_external_id_unlike_ours",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("external_id", ""), _negated=True), name="account_external_id_present"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AccountNote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.TextField(max_length=2000)),
                ("noted_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="notes",
                        to="billing.account",
                    ),
                ),
                (
                    "author",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["account", "-id"], name="account_note_of_account")],
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=80)),
                ("prefix", models.CharField(max_length=12, unique=True)),
                ("digest", models.BinaryField(max_length=32)),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("read", "Read"),
                                ("usage:write", "Usage Write"),
                                ("charges:write", "Charges Write"),
                                ("accounts:write", "Accounts Write"),
                                ("credits:write", "Credits Write"),
                                ("payments:write", "Payments Write"),
                            ],
                            max_length=20,
                        ),
                        size=None,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, help_text="Kept to the minute.", null=True)),
                ("lineage", models.UUIDField(default=uuid.uuid4, editable=False)),
                (
                    "is_pending",
                    models.BooleanField(
                        default=False, help_text="It does not work until a second person approves it."
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="api_keys",
                        to="billing.account",
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "rotated_from",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to="billing.apikey"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Approval",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("act", models.CharField(max_length=20)),
                ("payload", models.JSONField()),
                ("reference", models.CharField(max_length=250, unique=True)),
                ("credits", models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                (
                    "amount",
                    models.DecimalField(decimal_places=6, default=0, help_text="Money.", max_digits=24),
                ),
                ("currency", models.CharField(blank=True, help_text="Empty: no money is moved.", max_length=3)),
                ("reason", models.CharField(max_length=300)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("immediate", "done at once"),
                            ("waiting", "Waiting"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="waiting",
                        max_length=9,
                    ),
                ),
                ("requested_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("decision_note", models.CharField(blank=True, max_length=300)),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approvals",
                        to="billing.account",
                    ),
                ),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals_decided",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approvals_requested",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "permissions": (("decide_approval", "Can approve or reject what another member of staff asks for"),),
                "indexes": [
                    models.Index(fields=["state", "-requested_at"], name="approval_queue"),
                    models.Index(fields=["requested_by", "requested_at"], name="approval_of_a_day"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "approved"), _negated=True),
                            models.Q(
                                ("decided_by__isnull", False),
                                models.Q(("decided_by", models.F("requested_by")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="approval_by_a_second_person",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gte", 0),
                            ("amount__lt", 1000000000000000000),
                            ("credits__gte", 0),
                            ("credits__lt", 1000000000000000000),
                        ),
                        name="approval_worth_sane",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("amount", 0), models.Q(("currency", ""), _negated=True), _connector="OR"),
                        name="approval_money_has_a_currency",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BankTransfer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=250, unique=True)),
                ("received_on", models.DateField()),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        default=None, max_length=3, validators=[billing.accounts.fields.validate_currency]
                    ),
                ),
                ("payer", models.CharField(blank=True, max_length=200)),
                ("payer_account", models.CharField(blank=True, help_text="IBAN or account number.", max_length=40)),
                ("remittance", models.CharField(blank=True, help_text="What the payer wrote.", max_length=500)),
                (
                    "amount_matched",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                (
                    "amount_returned",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                ("note", models.CharField(blank=True, max_length=200)),
                ("recorded_at", models.DateTimeField()),
                ("actor", models.CharField(blank=True, max_length=80)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(
                            (
                                "amount__gt",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("amount_matched"), "+", models.F("amount_returned")
                                ),
                            )
                        ),
                        fields=["received_on"],
                        name="bank_transfer_unmatched",
                    ),
                    models.Index(
                        condition=models.Q(("payer_account", ""), _negated=True),
                        fields=["payer_account"],
                        name="bank_transfer_payer",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", 0),
                            ("amount__lt", 100000000000000),
                            ("amount_matched__gte", 0),
                            ("amount_returned__gte", 0),
                            (
                                "amount__gte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("amount_matched"), "+", models.F("amount_returned")
                                ),
                            ),
                        ),
                        name="bank_transfer_sane",
                        violation_error_message="A transfer is of a positive amount.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ContractTerms",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        default=None, max_length=3, validators=[billing.accounts.fields.validate_currency]
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                (
                    "fee",
                    billing.invoicing.models.MoneyAmountField(blank=True, decimal_places=3, max_digits=18, null=True),
                ),
                (
                    "seat_price",
                    billing.invoicing.models.MoneyAmountField(blank=True, decimal_places=3, max_digits=18, null=True),
                ),
                (
                    "minimum",
                    billing.invoicing.models.MoneyAmountField(blank=True, decimal_places=3, max_digits=18, null=True),
                ),
                (
                    "included_credits",
                    billing.ledger.models.CreditsField(blank=True, decimal_places=6, max_digits=24, null=True),
                ),
                ("seats_included", models.PositiveIntegerField(blank=True, null=True)),
                ("overage_tiers", models.JSONField(blank=True, null=True)),
                ("discount_percent", models.DecimalField(blank=True, decimal_places=3, max_digits=6, null=True)),
                ("note", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField()),
                ("actor", models.CharField(blank=True, max_length=80)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="contract_terms", to="billing.account"
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="contract_terms", to="billing.plan"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "contract terms",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ends_at", None), ("ends_at__gt", models.F("starts_at")), _connector="OR"),
                            models.Q(
                                ("fee", None), models.Q(("fee__gte", 0), ("fee__lt", 100000000000000)), _connector="OR"
                            ),
                            models.Q(
                                ("seat_price", None),
                                models.Q(("seat_price__gte", 0), ("seat_price__lt", 100000000000000)),
                                _connector="OR",
                            ),
                            models.Q(
                                ("minimum", None),
                                models.Q(("minimum__gte", 0), ("minimum__lt", 100000000000000)),
                                _connector="OR",
                            ),
                            models.Q(
                                ("included_credits", None),
                                models.Q(
                                    ("included_credits__gte", 0),
                                    ("included_credits__lt", Decimal("999999999999999999")),
                                ),
                                _connector="OR",
                            ),
                            models.Q(
                                ("discount_percent", None),
                                models.Q(("discount_percent__gte", 0), ("discount_percent__lte", 100)),
                                _connector="OR",
                            ),
                        ),
                        name="contract_terms_sane",
                    ),
                    django.contrib.postgres.constraints.ExclusionConstraint(
                        expressions=[
                            (
                                billing.subscriptions.models._TstzRange(
                                    "starts_at", "ends_at", django.contrib.postgres.fields.ranges.RangeBoundary()
                                ),
                                "&&",
                            ),
                            ("account", "="),
                            ("plan", "="),
                            ("currency", "="),
                        ],
                        name="contract_terms_no_overlap",
                        violation_error_message="Other terms of this account and plan are agreed for that time.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditPool",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=60,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9._-]{0,59}\\Z",
                                "Use 1 to 60 lower-case letters, digits or . _ - and start with a letter or digit.",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("kind", models.CharField(choices=[("main", "Main"), ("team", "Team")], default="main", max_length=4)),
                (
                    "policy",
                    models.CharField(
                        choices=[
                            ("block", "refuse charges"),
                            ("burst", "bounded overdraft, repaid from the next grant"),
                            ("overage", "metered on, invoiced in arrears"),
                        ],
                        default="block",
                        max_length=7,
                    ),
                ),
                (
                    "burst_limit",
                    billing.ledger.models.CreditsField(
                        decimal_places=6,
                        default=0,
                        help_text="Largest overdraft under the burst policy.",
                        max_digits=24,
                    ),
                ),
                (
                    "overage_cap",
                    billing.ledger.models.CreditsField(
                        blank=True,
                        decimal_places=6,
                        help_text="Largest overage in a cycle; empty: no cap.",
                        max_digits=24,
                        null=True,
                    ),
                ),
                (
                    "balance",
                    billing.ledger.models.CreditsField(decimal_places=6, default=0, editable=False, max_digits=24),
                ),
                (
                    "held",
                    billing.ledger.models.CreditsField(decimal_places=6, default=0, editable=False, max_digits=24),
                ),
                (
                    "held_uncovered",
                    billing.ledger.models.CreditsField(decimal_places=6, default=0, editable=False, max_digits=24),
                ),
                (
                    "overdraft",
                    billing.ledger.models.CreditsField(decimal_places=6, default=0, editable=False, max_digits=24),
                ),
                ("version", models.BigIntegerField(default=0, editable=False)),
                ("last_posted_at", models.DateTimeField(editable=False)),
                ("cycle_number", models.PositiveIntegerField(default=1, editable=False)),
                ("cycle_starts_at", models.DateTimeField(editable=False)),
                ("cycle_ends_at", models.DateTimeField(editable=False)),
                (
                    "last_cycle_starts_at",
                    models.DateTimeField(
                        editable=False, help_text="Start of the cycle before, if that ran its time.", null=True
                    ),
                ),
                ("cycle_interval", models.CharField(default="month", editable=False, max_length=7)),
                ("cycle_interval_count", models.PositiveSmallIntegerField(default=1, editable=False)),
                (
                    "cycle_anchor_on",
                    models.DateField(
                        editable=False, help_text="Cycles are counted from this day; empty: calendar months.", null=True
                    ),
                ),
                (
                    "renews_at",
                    models.DateTimeField(
                        editable=False,
                        help_text="Allocations and rollovers that end from here on wait for the renewal.",
                        null=True,
                    ),
                ),
                (
                    "cycle_allocation",
                    billing.ledger.models.CreditsField(decimal_places=6, default=0, editable=False, max_digits=24),
                ),
                (
                    "cycle_spent",
                    billing.ledger.models.CreditsField(decimal_places=6, default=0, editable=False, max_digits=24),
                ),
                (
                    "cycle_overage",
                    billing.ledger.models.CreditsField(decimal_places=6, default=0, editable=False, max_digits=24),
                ),
                (
                    "cycle_carried",
                    billing.ledger.models.CreditsField(
                        decimal_places=6,
                        default=0,
                        editable=False,
                        help_text="Overdraft for what this cycle has not spent.",
                        max_digits=24,
                    ),
                ),
                (
                    "cycle_rolled_spent",
                    billing.ledger.models.CreditsField(
                        decimal_places=6,
                        default=0,
                        editable=False,
                        help_text="What of the credits rolled over into the cycle its usage has spent.",
                        max_digits=24,
                    ),
                ),
                ("alert_level", models.PositiveSmallIntegerField(default=0, editable=False)),
                ("alert_arming", models.PositiveIntegerField(default=0, editable=False)),
                (
                    "low_balance_below",
                    billing.ledger.models.CreditsField(
                        blank=True,
                        decimal_places=6,
                        help_text="Below this many credits its people are told; empty: never.",
                        max_digits=24,
                        null=True,
                    ),
                ),
                ("low_balance_told", models.BooleanField(default=False, editable=False)),
                ("created_at", models.DateTimeField(editable=False)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="pools", to="billing.account"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("account", "key"), name="pool_key_unique"),
                    models.UniqueConstraint(
                        condition=models.Q(("kind", "main")), fields=("account",), name="pool_one_main"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("balance__gte", 0),
                            ("balance__lt", Decimal("999999999999999999")),
                            ("held__gte", 0),
                            ("held__lte", models.F("balance")),
                            ("held_uncovered__gte", 0),
                            ("held_uncovered__lt", Decimal("999999999999999999")),
                            ("overdraft__gte", 0),
                            ("overdraft__lt", Decimal("999999999999999999")),
                            ("burst_limit__gte", 0),
                            ("burst_limit__lt", Decimal("999999999999999999")),
                            models.Q(
                                ("overage_cap", None),
                                models.Q(("overage_cap__gte", 0), ("overage_cap__lt", Decimal("999999999999999999"))),
                                _connector="OR",
                            ),
                            ("cycle_allocation__gte", 0),
                            ("cycle_allocation__lt", Decimal("999999999999999999")),
                            ("cycle_overage__gte", 0),
                            ("cycle_overage__lt", Decimal("999999999999999999")),
                            ("cycle_spent__gte", 0),
                            ("cycle_spent__lt", Decimal("999999999999999999")),
                            models.Q(
                                ("low_balance_below", None),
                                models.Q(
                                    ("low_balance_below__gt", 0),
                                    ("low_balance_below__lt", Decimal("999999999999999999")),
                                ),
                                _connector="OR",
                            ),
                        ),
                        name="pool_amounts_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditGrant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("allocation", "Allocation"),
                            ("purchase", "Purchase"),
                            ("bonus", "Bonus"),
                            ("loyalty", "Loyalty"),
                            ("streak", "Streak"),
                            ("referral", "Referral"),
                            ("milestone", "Milestone"),
                            ("goodwill", "Goodwill"),
                            ("adjustment", "Adjustment"),
                            ("rollover", "Rollover"),
                            ("transfer", "Transfer"),
                            ("overage", "Overage"),
                            ("overdraft", "Overdraft"),
                        ],
                        max_length=10,
                    ),
                ),
                ("amount", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("remaining", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("held", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("spent", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("reversed", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("expired", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("revoked", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("transferred", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("is_open", models.BooleanField(default=True)),
                ("priority", models.SmallIntegerField(default=50, help_text="Lower burns first.")),
                ("effective_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("cost_basis", models.DecimalField(decimal_places=12, default=Decimal("0"), max_digits=24)),
                ("currency", djmoney.models.fields.CurrencyField(default="USD", max_length=3)),
                (
                    "rollovers",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="How many periods this has rolled over already."
                    ),
                ),
                (
                    "source_id",
                    models.BigIntegerField(
                        blank=True, help_text="Where a transferred or rolled lot came from.", null=True
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField()),
                (
                    "pool",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="grants",
                        to="billing.creditpool",
                    ),
                ),
            ],
            options={
                "permissions": (
                    ("grant_any_kind", "Can grant credits of every kind, with a cost basis, and adjust balances"),
                ),
                "indexes": [
                    models.Index(condition=models.Q(("is_open", True)), fields=["pool"], name="grant_open_of_pool"),
                    models.Index(
                        condition=models.Q(("is_open", True)), fields=["expires_at"], name="grant_open_expiry"
                    ),
                    models.Index(fields=["pool", "-id"], name="grant_of_pool"),
                    models.Index(
                        condition=models.Q(("kind", "overage")),
                        fields=["pool", "created_at"],
                        name="grant_overage_of_pool",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "remaining",
                                django.db.models.expressions.CombinedExpression(
                                    django.db.models.expressions.CombinedExpression(
                                        django.db.models.expressions.CombinedExpression(
                                            django.db.models.expressions.CombinedExpression(
                                                django.db.models.expressions.CombinedExpression(
                                                    models.F("amount"), "-", models.F("spent")
                                                ),
                                                "+",
                                                models.F("reversed"),
                                            ),
                                            "-",
                                            models.F("expired"),
                                        ),
                                        "-",
                                        models.F("revoked"),
                                    ),
                                    "-",
                                    models.F("transferred"),
                                ),
                            )
                        ),
                        name="grant_identity",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", 0),
                            ("amount__lt", Decimal("999999999999999999")),
                            ("remaining__gte", 0),
                            ("remaining__lt", Decimal("999999999999999999")),
                            ("held__gte", 0),
                            ("held__lte", models.F("remaining")),
                            ("expired__gte", 0),
                            ("reversed__gte", 0),
                            ("revoked__gte", 0),
                            ("spent__gte", 0),
                            ("transferred__gte", 0),
                            ("reversed__lte", models.F("spent")),
                            ("cost_basis__gte", 0),
                            ("cost_basis__lt", Decimal("999999999999")),
                        ),
                        name="grant_amounts_sane",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("expires_at", None), ("expires_at__gt", models.F("effective_at")), _connector="OR"
                        ),
                        name="grant_validity_order",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ExchangeRate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        default=None, max_length=3, validators=[billing.accounts.fields.validate_currency]
                    ),
                ),
                ("on", models.DateField()),
                ("rate", models.DecimalField(decimal_places=12, max_digits=24)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("currency", "on"), name="exchange_rate_once"),
                    models.CheckConstraint(
                        condition=models.Q(("rate__gt", 0), ("rate__lt", 100000000000000)), name="exchange_rate_sane"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GatewayCustomer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "gateway",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("stripe", "Stripe"), ("manual", "Bank transfer")],
                        max_length=20,
                    ),
                ),
                ("reference", models.CharField(max_length=100)),
                ("created_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="billing.account"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("account", "gateway"), name="gateway_customer_one")],
            },
        ),
        migrations.CreateModel(
            name="GatewayEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "gateway",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("stripe", "Stripe"), ("manual", "Bank transfer")],
                        max_length=20,
                    ),
                ),
                ("event_id", models.CharField(max_length=120)),
                ("kind", models.CharField(max_length=60)),
                ("payload", models.JSONField()),
                ("received_at", models.DateTimeField()),
                ("processed_at", models.DateTimeField(blank=True, null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_try_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.TextField(blank=True)),
                ("request_id", models.CharField(blank=True, max_length=64)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_try_at__isnull", False)),
                        fields=["next_try_at"],
                        name="gateway_event_due",
                    )
                ],
                "constraints": [models.UniqueConstraint(fields=("gateway", "event_id"), name="gateway_event_once")],
            },
        ),
        migrations.CreateModel(
            name="Hold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=200)),
                ("fingerprint", models.BinaryField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("captured", "Captured"),
                            ("released", "Released"),
                            ("expired", "Expired"),
                        ],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("amount", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("uncovered", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("captured", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("quantity", models.DecimalField(decimal_places=6, max_digits=24, null=True)),
                ("properties", models.TextField(default="{}")),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("note", models.CharField(blank=True, max_length=200)),
                (
                    "pool",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="holds",
                        to="billing.creditpool",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("state", "open")), fields=["expires_at"], name="hold_open_expiry"),
                    models.Index(fields=["pool", "-id"], name="hold_of_pool"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("pool", "reference"), name="hold_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("amount__gt", 0),
                                models.Q(("amount", 0), ("quantity__isnull", False)),
                                _connector="OR",
                            ),
                            ("amount__lt", Decimal("999999999999999999")),
                            ("uncovered__gte", 0),
                            ("uncovered__lte", models.F("amount")),
                            ("captured__gte", 0),
                            ("captured__lt", Decimal("999999999999999999")),
                        ),
                        name="hold_amounts_sane",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("closed_at", None), ("state", "open")),
                            models.Q(models.Q(("state", "open"), _negated=True), ("closed_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="hold_closed_when_not_open",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="HoldLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("amount", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("captured", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                (
                    "grant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="hold_lines", to="billing.creditgrant"
                    ),
                ),
                (
                    "hold",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="billing.hold"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("hold", "position"), name="hold_line_unique"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", 0),
                            ("amount__lt", Decimal("999999999999999999")),
                            ("captured__gte", 0),
                            ("captured__lte", models.F("amount")),
                        ),
                        name="hold_line_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Throttle",
            fields=[
                ("name", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("count", models.PositiveIntegerField()),
                ("window_ends_at", models.DateTimeField()),
            ],
            options={
                "indexes": [models.Index(fields=["window_ends_at"], name="throttle_over")],
            },
        ),
        migrations.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "lineage",
                    models.UUIDField(help_text="Of the API key, so that a request can be repeated after a rotation."),
                ),
                ("key", models.CharField(max_length=255)),
                ("fingerprint", models.BinaryField(help_text="SHA-256 of method, path and body.", max_length=32)),
                ("created_at", models.DateTimeField()),
                ("locked_until", models.DateTimeField()),
                (
                    "lease",
                    models.UUIDField(help_text="Who holds the lock; an overtaken holder cannot write its answer."),
                ),
                ("status", models.SmallIntegerField(null=True)),
                ("body", models.TextField(blank=True)),
                ("content_type", models.CharField(blank=True, max_length=60)),
            ],
            options={
                "indexes": [models.Index(fields=["created_at"], name="idempotency_created")],
                "constraints": [models.UniqueConstraint(fields=("lineage", "key"), name="idempotency_key_unique")],
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("email", models.EmailField(max_length=254)),
                (
                    "role",
                    models.CharField(
                        choices=[("owner", "Owner"), ("admin", "Admin"), ("member", "Member"), ("viewer", "Viewer")],
                        default="member",
                        max_length=10,
                    ),
                ),
                ("token_digest", models.BinaryField(max_length=32, unique=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="invitations", to="billing.account"
                    ),
                ),
                (
                    "invited_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        models.F("account"),
                        django.db.models.functions.text.Lower("email"),
                        condition=models.Q(("accepted_at", None), ("revoked_at", None)),
                        name="invitation_one_open_per_address",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Invoice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=250, unique=True)),
                ("number", models.CharField(blank=True, max_length=40, null=True, unique=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("open", "Open"),
                            ("paid", "Paid"),
                            ("void", "Void"),
                            ("uncollectible", "Uncollectible"),
                        ],
                        default="draft",
                        max_length=13,
                    ),
                ),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        default=None, max_length=3, validators=[billing.accounts.fields.validate_currency]
                    ),
                ),
                ("subtotal", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                ("tax_total", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                ("total", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                ("amount_paid", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                (
                    "amount_credited",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                (
                    "amount_refunded",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                ("seller", models.JSONField(default=dict)),
                ("customer", models.JSONField(default=dict)),
                ("tax_note", models.CharField(blank=True, max_length=400)),
                ("base_currency", djmoney.models.fields.CurrencyField(blank=True, default="", max_length=3)),
                ("base_rate", models.DecimalField(blank=True, decimal_places=12, max_digits=24, null=True)),
                ("base_rate_on", models.DateField(blank=True, null=True)),
                (
                    "tax_in_base",
                    billing.invoicing.models.MoneyAmountField(blank=True, decimal_places=3, max_digits=18, null=True),
                ),
                ("content_hash", models.CharField(blank=True, max_length=70)),
                ("created_at", models.DateTimeField()),
                ("issued_at", models.DateTimeField(blank=True, null=True)),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("paid_at", models.DateTimeField(blank=True, null=True)),
                ("voided_at", models.DateTimeField(blank=True, null=True)),
                ("uncollectible_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="invoices", to="billing.account"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["account", "-id"], name="invoice_of_account")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "total",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("subtotal"), "+", models.F("tax_total")
                                ),
                            ),
                            ("subtotal__gte", 0),
                            ("tax_total__gte", 0),
                            ("total__lt", 100000000000000),
                            ("amount_paid__gte", 0),
                            ("amount_paid__lte", models.F("total")),
                            ("amount_credited__gte", 0),
                            ("amount_credited__lte", models.F("total")),
                            ("amount_refunded__gte", 0),
                            ("amount_refunded__lte", models.F("amount_paid")),
                        ),
                        name="invoice_totals_sane",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("issued_at", None), ("number", None), ("state", "draft")),
                            models.Q(
                                models.Q(("state", "draft"), _negated=True),
                                ("issued_at__isnull", False),
                                ("number__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="invoice_number_when_issued",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "paid"), _negated=True),
                            (
                                "amount_paid__gte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("total"), "-", models.F("amount_credited")
                                ),
                            ),
                            _connector="OR",
                        ),
                        name="invoice_paid_in_full",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("base_currency", ""),
                                ("base_rate", None),
                                ("base_rate_on", None),
                                ("tax_in_base", None),
                            ),
                            models.Q(
                                models.Q(("base_currency", ""), _negated=True),
                                ("base_rate__gt", 0),
                                ("base_rate__lt", 100000000000000),
                                ("base_rate_on__isnull", False),
                                ("tax_in_base__gte", 0),
                                ("tax_in_base__lt", 100000000000000),
                            ),
                            _connector="OR",
                        ),
                        name="invoice_base_whole",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditNote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=250)),
                ("number", models.CharField(max_length=40, unique=True)),
                ("reason", models.CharField(max_length=200)),
                ("currency", djmoney.models.fields.CurrencyField(default=None, max_length=3)),
                ("subtotal", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("tax_total", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("total", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("seller", models.JSONField(default=dict)),
                ("customer", models.JSONField(default=dict)),
                ("base_currency", djmoney.models.fields.CurrencyField(blank=True, default="", max_length=3)),
                ("base_rate", models.DecimalField(blank=True, decimal_places=12, max_digits=24, null=True)),
                ("base_rate_on", models.DateField(blank=True, null=True)),
                (
                    "tax_in_base",
                    billing.invoicing.models.MoneyAmountField(blank=True, decimal_places=3, max_digits=18, null=True),
                ),
                ("content_hash", models.CharField(blank=True, max_length=70)),
                ("issued_at", models.DateTimeField()),
                ("actor", models.CharField(blank=True, max_length=80)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="credit_notes",
                        to="billing.account",
                    ),
                ),
                (
                    "invoice",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="credit_notes", to="billing.invoice"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("account", "reference"), name="credit_note_reference"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("base_currency", ""),
                                ("base_rate", None),
                                ("base_rate_on", None),
                                ("tax_in_base", None),
                            ),
                            models.Q(
                                models.Q(("base_currency", ""), _negated=True),
                                ("base_rate__gt", 0),
                                ("base_rate__lt", 100000000000000),
                                ("base_rate_on__isnull", False),
                                ("tax_in_base__gte", 0),
                                ("tax_in_base__lt", 100000000000000),
                            ),
                            _connector="OR",
                        ),
                        name="credit_note_base_whole",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("subtotal__gte", 0),
                            ("tax_total__gte", 0),
                            (
                                "total",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("subtotal"), "+", models.F("tax_total")
                                ),
                            ),
                            ("total__gt", 0),
                            ("total__lt", 100000000000000),
                        ),
                        name="credit_note_totals_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="InvoiceLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveSmallIntegerField()),
                ("description", models.CharField(max_length=200)),
                ("quantity", models.DecimalField(decimal_places=6, max_digits=24)),
                ("unit_price", models.DecimalField(decimal_places=12, max_digits=24)),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("category", models.CharField(default="standard", max_length=20)),
                ("includes_tax", models.BooleanField(default=False)),
                ("tax_name", models.CharField(blank=True, max_length=40)),
                ("tax_percent", models.DecimalField(decimal_places=3, default=0, max_digits=6)),
                ("tax_amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                (
                    "tax_treatment",
                    models.CharField(
                        choices=[
                            ("taxed", "Taxed"),
                            ("reverse_charge", "reverse charge"),
                            ("exempt", "exempt"),
                            ("untaxed", "not taxed"),
                        ],
                        default="untaxed",
                        max_length=14,
                    ),
                ),
                ("credits", billing.ledger.models.CreditsField(blank=True, decimal_places=6, max_digits=24, null=True)),
                (
                    "grant_kind",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("allocation", "Allocation"),
                            ("purchase", "Purchase"),
                            ("bonus", "Bonus"),
                            ("loyalty", "Loyalty"),
                            ("streak", "Streak"),
                            ("referral", "Referral"),
                            ("milestone", "Milestone"),
                            ("goodwill", "Goodwill"),
                            ("adjustment", "Adjustment"),
                            ("rollover", "Rollover"),
                            ("transfer", "Transfer"),
                            ("overage", "Overage"),
                            ("overdraft", "Overdraft"),
                        ],
                        max_length=10,
                    ),
                ),
                ("validity_days", models.PositiveIntegerField(blank=True, null=True)),
                (
                    "recognition",
                    models.CharField(
                        choices=[
                            ("at_once", "when invoiced"),
                            ("period", "day by day over its service period"),
                            ("credits", "as the credits it pays for are used or expire"),
                        ],
                        default="at_once",
                        max_length=8,
                    ),
                ),
                ("starts_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                ("period_reference", models.CharField(blank=True, max_length=80)),
                ("cost_basis", models.DecimalField(blank=True, decimal_places=12, max_digits=24, null=True)),
                (
                    "amount_credited",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                ("tax_credited", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                ("credits_refunded", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("fulfilled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "invoice",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="billing.invoice"
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.creditpool"
                    ),
                ),
            ],
            options={
                "ordering": ("position",),
                "constraints": [
                    models.UniqueConstraint(fields=("invoice", "position"), name="invoice_line_position"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("quantity__gt", 0),
                                ("quantity__lt", Decimal("999999999999999999")),
                                ("amount__gte", 0),
                                ("amount__lt", 100000000000000),
                                ("tax_amount__gte", 0),
                                ("tax_amount__lt", 100000000000000),
                                ("amount_credited__gte", 0),
                                ("amount_credited__lte", models.F("amount")),
                                ("tax_credited__gte", 0),
                                ("tax_credited__lte", models.F("tax_amount")),
                            ),
                            models.Q(
                                ("amount__gt", -100000000000000),
                                ("amount__lte", 0),
                                ("amount_credited", 0),
                                ("credits", None),
                                ("quantity__gt", Decimal("-999999999999999999")),
                                ("quantity__lt", 0),
                                ("tax_amount__gt", -100000000000000),
                                ("tax_amount__lte", 0),
                                ("tax_credited", 0),
                            ),
                            _connector="OR",
                        ),
                        name="invoice_line_sane",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ends_at", None), ("starts_at", None)),
                            ("ends_at__gt", models.F("starts_at")),
                            _connector="OR",
                        ),
                        name="invoice_line_time_whole",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("credits", None), ("grant_kind", ""), ("pool", None)),
                            models.Q(
                                ("cost_basis__gte", 0),
                                ("credits__gt", 0),
                                ("credits__lt", Decimal("999999999999999999")),
                                ("credits_refunded__gte", 0),
                                ("credits_refunded__lte", models.F("credits")),
                                ("pool__isnull", False),
                                models.Q(("grant_kind", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="invoice_line_fulfilment_whole",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditNoteLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("description", models.CharField(max_length=200)),
                ("credits", billing.ledger.models.CreditsField(blank=True, decimal_places=6, max_digits=24, null=True)),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("tax_amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                (
                    "credit_note",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="billing.creditnote"
                    ),
                ),
                (
                    "invoice_line",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="credit_note_lines",
                        to="billing.invoiceline",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("credit_note", "invoice_line"), name="credit_note_line_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gte", 0),
                            ("amount__lt", 100000000000000),
                            ("tax_amount__gte", 0),
                            ("tax_amount__lt", 100000000000000),
                        ),
                        name="credit_note_line_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Issuer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=40, unique=True)),
                ("name", models.CharField(max_length=200)),
                ("address", models.TextField(blank=True, max_length=500)),
                (
                    "country",
                    models.CharField(
                        max_length=2,
                        validators=[django.core.validators.RegexValidator("^[A-Z]{2}\\Z", "Use a two-letter code.")],
                    ),
                ),
                ("tax_number", models.CharField(blank=True, max_length=32)),
                ("email", models.EmailField(blank=True, max_length=254)),
                (
                    "tax_countries",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            max_length=2,
                            validators=[
                                django.core.validators.RegexValidator("^[A-Z]{2}\\Z", "Use a two-letter code.")
                            ],
                        ),
                        blank=True,
                        default=list,
                        help_text="Other countries where it is registered and charges tax, e.g. CH, GB. Its own country, and for an issuer in the EU all of the EU, need not be listed.",
                        size=None,
                    ),
                ),
                ("payment_terms_days", models.PositiveSmallIntegerField(default=14)),
                (
                    "footer",
                    models.TextField(
                        blank=True, help_text="Register entry, directors: on every document.", max_length=500
                    ),
                ),
                (
                    "iban",
                    models.CharField(
                        blank=True,
                        help_text="Invoices to be paid name it, with a QR code.",
                        max_length=34,
                        validators=[billing.invoicing.transfers.validate_iban],
                    ),
                ),
                (
                    "bic",
                    models.CharField(blank=True, max_length=11, validators=[billing.invoicing.transfers.validate_bic]),
                ),
                ("bank_name", models.CharField(blank=True, max_length=80)),
                (
                    "base_currency",
                    djmoney.models.fields.CurrencyField(
                        blank=True,
                        default="",
                        help_text="What its books are kept in: invoices in another currency also say their tax in it. Empty: none do.",
                        max_length=3,
                        validators=[billing.accounts.fields.validate_currency],
                    ),
                ),
                ("invoice_prefix", models.CharField(default="INV-", max_length=12)),
                ("last_invoice_number", models.PositiveIntegerField(default=0, editable=False)),
                ("credit_note_prefix", models.CharField(default="CN-", max_length=12)),
                ("last_credit_note_number", models.PositiveIntegerField(default=0, editable=False)),
                ("is_default", models.BooleanField(default=False)),
                ("is_test", models.BooleanField(default=False, editable=False)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)), fields=("is_default",), name="issuer_one_default"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_test", True)), fields=("is_test",), name="issuer_one_test"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("is_default", False), ("is_test", True)),
                            models.Q(
                                ("is_test", False),
                                models.Q(("invoice_prefix__startswith", "TEST"), _negated=True),
                                models.Q(("credit_note_prefix__startswith", "TEST"), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="issuer_test_prefixes",
                        violation_error_message="Prefixes that begin with TEST are those of test accounts.",
                    ),
                    models.UniqueConstraint(
                        fields=("invoice_prefix",),
                        name="issuer_invoice_prefix_unique",
                        violation_error_message="Another issuer has this prefix for invoices.",
                    ),
                    models.UniqueConstraint(
                        fields=("credit_note_prefix",),
                        name="issuer_credit_note_prefix_unique",
                        violation_error_message="Another issuer has this prefix for credit notes.",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="invoice",
            name="issuer",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="billing.issuer"),
        ),
        migrations.CreateModel(
            name="LedgerSeal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("postings", models.PositiveIntegerField()),
                ("sealed_at", models.DateTimeField()),
                (
                    "previous",
                    models.OneToOneField(
                        null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.ledgerseal"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Member",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[("owner", "Owner"), ("admin", "Admin"), ("member", "Member"), ("viewer", "Viewer")],
                        default="member",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "removed_at",
                    models.DateTimeField(blank=True, help_text="A removed member keeps its history.", null=True),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="members", to="billing.account"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("account", "user"), name="member_unique")],
            },
        ),
        migrations.AddField(
            model_name="hold",
            name="member",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.member",
            ),
        ),
        migrations.CreateModel(
            name="MemberLimit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("amount", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("period_starts_at", models.DateTimeField()),
                ("spent", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                (
                    "member",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="limit", to="billing.member"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gte", 0),
                            ("amount__lt", Decimal("999999999999999999")),
                            ("spent__gte", 0),
                            ("spent__lt", Decimal("999999999999999999")),
                        ),
                        name="member_limit_sane",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Meter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=60,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9._-]{0,59}\\Z",
                                "Use 1 to 60 lower-case letters, digits or . _ - and start with a letter or digit.",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("unit", models.CharField(help_text="Singular, e.g. token, request, GB-hour.", max_length=40)),
                (
                    "kind",
                    models.CharField(
                        choices=[("counter", "Counter"), ("gauge", "Gauge"), ("unique", "Unique")],
                        default="counter",
                        max_length=10,
                    ),
                ),
                (
                    "aggregation",
                    models.CharField(choices=[("sum", "Sum"), ("count", "Count")], default="sum", max_length=10),
                ),
                ("series_property", models.CharField(blank=True, max_length=60)),
                (
                    "gauge_unit_seconds",
                    models.PositiveIntegerField(default=3600, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                ("unique_property", models.CharField(blank=True, max_length=60)),
                (
                    "unit_cost",
                    models.DecimalField(
                        decimal_places=12,
                        default=0,
                        max_digits=24,
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                ("unit_cost_currency", djmoney.models.fields.CurrencyField(default="USD", max_length=3)),
                ("created_at", models.DateTimeField()),
                (
                    "archived_at",
                    models.DateTimeField(blank=True, help_text="An archived meter refuses new events.", null=True),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "unique"), _negated=True),
                            models.Q(("unique_property", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="meter_unique_has_property",
                        violation_error_message="A unique meter needs the property whose values it counts.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("unit_cost__gte", 0), ("unit_cost__lt", Decimal("999999999999"))),
                        name="meter_cost_sane",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="hold",
            name="meter",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.meter",
            ),
        ),
        migrations.AddConstraint(
            model_name="hold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("quantity", None),
                    models.Q(
                        ("meter__isnull", False),
                        ("quantity__gte", 0),
                        ("quantity__lt", Decimal("999999999999999999")),
                    ),
                    _connector="OR",
                ),
                name="hold_quantity_of_a_meter",
            ),
        ),
        migrations.CreateModel(
            name="GaugeSeries",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("series", models.CharField(blank=True, max_length=200)),
                ("base_at", models.DateTimeField()),
                ("base_level", models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                ("base_level_seconds", models.DecimalField(decimal_places=12, default=0, max_digits=40)),
                ("charged_quantity", models.DecimalField(decimal_places=6, default=0, max_digits=30)),
                ("charged_until", models.DateTimeField()),
                ("sequence", models.PositiveIntegerField(default=0)),
                ("account", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="billing.account")),
                (
                    "pool",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.creditpool"
                    ),
                ),
                (
                    "meter",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.meter"),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("account", "meter", "series"), name="gauge_series_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="GaugeReading",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("series", models.CharField(blank=True, max_length=200)),
                ("occurred_at", models.DateTimeField()),
                ("event_id", models.CharField(max_length=200)),
                ("source", models.CharField(blank=True, max_length=200)),
                ("level", models.DecimalField(decimal_places=6, max_digits=24)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.account"
                    ),
                ),
                (
                    "meter",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.meter"),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "meter", "series", "occurred_at", "event_id", "source"),
                        name="gauge_reading_unique",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DailyUsage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("events", models.BigIntegerField()),
                ("quantity", models.DecimalField(decimal_places=6, max_digits=30)),
                ("credits", models.DecimalField(decimal_places=6, max_digits=30)),
                (
                    "cost",
                    models.DecimalField(
                        decimal_places=12, help_text="Our cost, in the meter's currency.", max_digits=48
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.account"
                    ),
                ),
                (
                    "member",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.member"
                    ),
                ),
                (
                    "meter",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.meter"),
                ),
            ],
            options={
                "indexes": [
                    django.contrib.postgres.indexes.BrinIndex(
                        autosummarize=True, fields=["day"], name="daily_usage_day", pages_per_range=16
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "day", "meter", "member"), name="daily_usage_unique", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="creditgrant",
            name="meter",
            field=models.ForeignKey(
                blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.meter"
            ),
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=40)),
                ("dedupe_key", models.CharField(max_length=250, unique=True)),
                (
                    "email",
                    models.EmailField(
                        blank=True, help_text="Empty: the people of the account it concerns.", max_length=254
                    ),
                ),
                ("payload", models.JSONField(default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Pending"), ("expanded", "Expanded"), ("undeliverable", "nobody to tell")],
                        default="pending",
                        max_length=13,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "expanded_at",
                    models.DateTimeField(blank=True, help_text="When those to tell were found.", null=True),
                ),
                (
                    "request_id",
                    models.CharField(blank=True, help_text="The request that it comes from, if one.", max_length=64),
                ),
                (
                    "superseded_at",
                    models.DateTimeField(blank=True, help_text="When a newer one took its place.", null=True),
                ),
                (
                    "account",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to="billing.account",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("state", "pending")), fields=["id"], name="notification_pending"),
                    models.Index(fields=["account", "-id"], name="notification_inbox"),
                    models.Index(fields=["account", "created_at"], name="notification_by_time"),
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationDelivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "channel",
                    models.CharField(
                        choices=[("email", "e-mail"), ("inbox", "portal")], default="email", max_length=10
                    ),
                ),
                ("address", models.EmailField(max_length=254)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sent", "Sent"),
                            ("failed", "given up"),
                            ("dropped", "Dropped"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("due_at", models.DateTimeField()),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("last_error", models.TextField(blank=True)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                (
                    "notification",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="billing.notification",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "notification deliveries",
                "indexes": [
                    models.Index(condition=models.Q(("state", "pending")), fields=["due_at"], name="delivery_due")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("notification"),
                        models.F("channel"),
                        django.db.models.functions.text.Lower("address"),
                        name="delivery_once_per_address",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("sent_at__isnull", False), ("state", "sent")),
                            models.Q(("state", "sent"), _negated=True),
                            _connector="OR",
                        ),
                        name="delivery_sent_has_time",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationPreference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=40)),
                ("channel", models.CharField(choices=[("email", "e-mail"), ("inbox", "portal")], max_length=10)),
                ("is_on", models.BooleanField()),
                (
                    "member",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notification_preferences",
                        to="billing.member",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("member", "kind", "channel"), name="preference_unique")
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationRead",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("read_at", models.DateTimeField()),
                (
                    "member",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="billing.member"
                    ),
                ),
                (
                    "notification",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="reads",
                        to="billing.notification",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("notification", "member"), name="notification_read_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Pack",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=60,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9._-]{0,59}\\Z",
                                "Use 1 to 60 lower-case letters, digits or . _ - and start with a letter or digit.",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("description", models.CharField(blank=True, max_length=300)),
                ("currency", djmoney.models.fields.CurrencyField(default="USD", max_length=3)),
                ("min_credits", models.DecimalField(decimal_places=6, max_digits=24)),
                ("max_credits", models.DecimalField(decimal_places=6, max_digits=24)),
                ("step_credits", models.DecimalField(decimal_places=6, default=1, max_digits=24)),
                (
                    "validity_days",
                    models.PositiveIntegerField(blank=True, help_text="Empty: the credits never expire.", null=True),
                ),
                (
                    "target_segments",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40),
                        blank=True,
                        default=list,
                        help_text="Empty: all.",
                        size=None,
                    ),
                ),
                (
                    "prices_include_tax",
                    models.BooleanField(default=False, help_text="What a buyer pays is the price as it stands."),
                ),
                ("is_active", models.BooleanField(default=True, help_text="On sale.")),
                ("created_at", models.DateTimeField()),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("retired_at", None), ("is_active", False), _connector="OR"),
                        name="pack_retired_is_not_sold",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("min_credits__gt", 0),
                            ("max_credits__gte", models.F("min_credits")),
                            ("max_credits__lt", Decimal("999999999999999999")),
                            ("step_credits__gt", 0),
                            ("step_credits__lt", Decimal("999999999999999999")),
                        ),
                        name="pack_amounts_sane",
                    ),
                ],
            },
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="pack",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.pack"
            ),
        ),
        migrations.CreateModel(
            name="PackTier",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("from_credits", models.DecimalField(decimal_places=6, max_digits=24)),
                (
                    "unit_price",
                    models.DecimalField(
                        decimal_places=9, help_text="Money per credit, pack's currency.", max_digits=18
                    ),
                ),
                (
                    "pack",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="tiers", to="billing.pack"
                    ),
                ),
            ],
            options={
                "ordering": ("from_credits",),
                "constraints": [
                    models.UniqueConstraint(fields=("pack", "from_credits"), name="pack_tier_unique"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("from_credits__gt", 0),
                            ("from_credits__lt", Decimal("999999999999999999")),
                            ("unit_price__gte", 0),
                            ("unit_price__lt", Decimal("999999999")),
                        ),
                        name="pack_tier_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PaymentMethod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "gateway",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("stripe", "Stripe"), ("manual", "Bank transfer")],
                        max_length=20,
                    ),
                ),
                ("gateway_reference", models.CharField(max_length=100)),
                (
                    "customer_reference",
                    models.CharField(blank=True, help_text="Whom the gateway keeps it for.", max_length=100),
                ),
                ("brand", models.CharField(max_length=20)),
                ("last4", models.CharField(max_length=4)),
                ("exp_month", models.PositiveSmallIntegerField()),
                ("exp_year", models.PositiveSmallIntegerField()),
                ("is_default", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField()),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="payment_methods",
                        to="billing.account",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("gateway", "gateway_reference"), name="payment_method_unique"),
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True), ("removed_at", None)),
                        fields=("account",),
                        name="payment_method_one_default",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("is_default", False), ("removed_at", None), _connector="OR"),
                        name="payment_method_default_is_kept",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="InvoiceCredit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        default=None, max_length=3, validators=[billing.accounts.fields.validate_currency]
                    ),
                ),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                (
                    "amount_used",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_credits",
                        to="billing.account",
                    ),
                ),
                (
                    "credit_note",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invoice_credit",
                        to="billing.creditnote",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("amount__gt", models.F("amount_used"))),
                        fields=["account", "currency"],
                        name="invoice_credit_left",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", 0),
                            ("amount__lt", 100000000000000),
                            ("amount_used__gte", 0),
                            ("amount_used__lte", models.F("amount")),
                        ),
                        name="invoice_credit_sane",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Payment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "gateway",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("stripe", "Stripe"), ("manual", "Bank transfer")],
                        max_length=20,
                    ),
                ),
                ("idempotency_key", models.CharField(max_length=250, unique=True)),
                ("gateway_reference", models.CharField(blank=True, max_length=100)),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("currency", djmoney.models.fields.CurrencyField(default=None, max_length=3)),
                ("off_session", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("created", "Created"),
                            ("processing", "Processing"),
                            ("requires_action", "Waiting for confirmation"),
                            ("unknown", "Outcome unknown"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                        ],
                        default="created",
                        max_length=15,
                    ),
                ),
                ("failure_code", models.CharField(blank=True, max_length=40)),
                ("failure_message", models.CharField(blank=True, max_length=300)),
                (
                    "failure_is_hard",
                    models.BooleanField(default=False, help_text="Another try with this method cannot succeed."),
                ),
                ("action_url", models.CharField(blank=True, max_length=500)),
                ("return_url", models.CharField(blank=True, max_length=500)),
                ("problem", models.CharField(blank=True, help_text="What staff should look at.", max_length=300)),
                (
                    "amount_refunded",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                (
                    "amount_disputed",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                ("next_check_at", models.DateTimeField(blank=True, null=True)),
                ("checks", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("submitted_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "invoice",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="payments", to="billing.invoice"
                    ),
                ),
                (
                    "invoice_credit",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payments",
                        to="billing.invoicecredit",
                    ),
                ),
                (
                    "transfer",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payments",
                        to="billing.banktransfer",
                    ),
                ),
                (
                    "method",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.paymentmethod"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_check_at__isnull", False)),
                        fields=["next_check_at"],
                        name="payment_due",
                    ),
                    models.Index(fields=["gateway", "gateway_reference"], name="payment_at_gateway"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ("created", "processing", "requires_action", "unknown"))),
                        fields=("invoice",),
                        name="payment_one_under_way",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", 0),
                            ("amount__lt", 100000000000000),
                            ("amount_disputed__gte", 0),
                            ("amount_refunded__gte", 0),
                            (
                                "amount__gte",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("amount_refunded"), "+", models.F("amount_disputed")
                                ),
                            ),
                        ),
                        name="payment_sane",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__isnull", False),
                                ("next_check_at", None),
                                ("state__in", ("succeeded", "failed")),
                            ),
                            models.Q(
                                ("finished_at", None),
                                ("next_check_at__isnull", False),
                                ("state__in", ("created", "processing", "requires_action", "unknown")),
                            ),
                            _connector="OR",
                        ),
                        name="payment_live_is_checked",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Collection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "purpose",
                    models.CharField(help_text="Who opened it and for what, e.g. subscription:5.", max_length=80),
                ),
                (
                    "is_automatic",
                    models.BooleanField(default=True, help_text="Charge a method; otherwise it waits for a transfer."),
                ),
                (
                    "policy",
                    models.JSONField(
                        help_text="retry_days, reminder_days, final_days, final_act, downgrade_to (plan id)."
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("overdue", "Overdue"),
                            ("paid", "Paid"),
                            ("exhausted", "Exhausted"),
                            ("stopped", "Stopped"),
                        ],
                        default="open",
                        max_length=9,
                    ),
                ),
                ("tries", models.PositiveSmallIntegerField(default=0, help_text="Automatic ones.")),
                (
                    "retries_stopped",
                    models.BooleanField(default=False, help_text="A hard decline: until there is another method."),
                ),
                (
                    "overdue_at",
                    models.DateTimeField(blank=True, help_text="Days of the policy count from here.", null=True),
                ),
                ("reminders_sent", models.PositiveSmallIntegerField(default=0)),
                ("next_at", models.DateTimeField(blank=True, null=True)),
                ("has_news", models.BooleanField(default=False)),
                ("last_error", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "invoice",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="collection", to="billing.invoice"
                    ),
                ),
                (
                    "method",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="billing.paymentmethod",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_at__isnull", False)), fields=["next_at"], name="collection_due"
                    ),
                    models.Index(condition=models.Q(("has_news", True)), fields=["purpose"], name="collection_news"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("closed_at", None), ("state__in", ("open", "overdue"))),
                            models.Q(
                                ("closed_at__isnull", False),
                                ("next_at", None),
                                ("state__in", ("paid", "exhausted", "stopped")),
                            ),
                            _connector="OR",
                        ),
                        name="collection_over_is_closed",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CardSetup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=250, unique=True)),
                (
                    "gateway",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("stripe", "Stripe"), ("manual", "Bank transfer")],
                        max_length=20,
                    ),
                ),
                ("gateway_reference", models.CharField(blank=True, max_length=200)),
                ("url", models.CharField(blank=True, max_length=2000)),
                ("make_default", models.BooleanField(default=False)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("done", "Done"), ("expired", "Expired")],
                        default="open",
                        max_length=7,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="card_setups", to="billing.account"
                    ),
                ),
                (
                    "method",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="billing.paymentmethod",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["gateway", "gateway_reference"], name="card_setup_at_gateway")],
            },
        ),
        migrations.CreateModel(
            name="PendingItem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        default=None, max_length=3, validators=[billing.accounts.fields.validate_currency]
                    ),
                ),
                ("reference", models.CharField(max_length=250, unique=True)),
                ("description", models.CharField(max_length=200)),
                ("quantity", models.DecimalField(decimal_places=6, default=1, max_digits=24)),
                ("unit_price", models.DecimalField(decimal_places=12, max_digits=24)),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("includes_tax", models.BooleanField(default=False, help_text="The amount has its tax in it.")),
                ("category", models.CharField(default="standard", max_length=20)),
                (
                    "recognition",
                    models.CharField(
                        choices=[
                            ("at_once", "when invoiced"),
                            ("period", "day by day over its service period"),
                            ("credits", "as the credits it pays for are used or expire"),
                        ],
                        default="at_once",
                        max_length=8,
                    ),
                ),
                ("starts_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                ("period_reference", models.CharField(blank=True, max_length=80)),
                ("created_at", models.DateTimeField()),
                ("actor", models.CharField(blank=True, max_length=80)),
                ("passed_over_at", models.DateTimeField(blank=True, null=True)),
                ("cancelled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="pending_items", to="billing.account"
                    ),
                ),
                (
                    "invoice_line",
                    models.OneToOneField(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.invoiceline"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("cancelled_at", None), ("invoice_line", None)),
                        fields=["account"],
                        name="pending_item_open",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("amount__gte", 0), ("amount__lt", 100000000000000), ("quantity__gt", 0)),
                            models.Q(("amount__gt", -100000000000000), ("amount__lte", 0), ("quantity__lt", 0)),
                            _connector="OR",
                        ),
                        name="pending_item_sane",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("invoice_line", None), ("cancelled_at", None), _connector="OR"),
                        name="pending_item_taken_or_cancelled",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DunningPolicy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=60,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9._-]{0,59}\\Z",
                                "Use 1 to 60 lower-case letters, digits or . _ - and start with a letter or digit.",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                (
                    "retry_days",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(), blank=True, default=list, size=None
                    ),
                ),
                (
                    "reminder_days",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(), blank=True, default=list, size=None
                    ),
                ),
                ("final_days", models.PositiveSmallIntegerField(default=21)),
                (
                    "final_act",
                    models.CharField(
                        choices=[
                            ("pause", "pause the subscription"),
                            ("downgrade", "change to another plan"),
                            ("cancel", "end the subscription"),
                            ("keep", "keep it, and give the invoice up"),
                        ],
                        default="cancel",
                        max_length=9,
                    ),
                ),
                ("is_default", models.BooleanField(default=False, help_text="For plans that name no other policy.")),
                ("created_at", models.DateTimeField()),
                (
                    "downgrade_to",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.plan",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "dunning policies",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)),
                        fields=("is_default",),
                        name="dunning_policy_one_default",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("downgrade_to__isnull", False), ("final_act", "downgrade")),
                            models.Q(models.Q(("final_act", "downgrade"), _negated=True), ("downgrade_to", None)),
                            _connector="OR",
                        ),
                        name="dunning_policy_downgrades_to_a_plan",
                        violation_error_message="Name the plan to downgrade to, and only then.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Coupon",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "code",
                    models.CharField(
                        max_length=40,
                        unique=True,
                        validators=[django.core.validators.RegexValidator("^[A-Z0-9_-]{2,40}\\Z")],
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("percent", models.DecimalField(blank=True, decimal_places=3, max_digits=6, null=True)),
                ("amount", models.DecimalField(blank=True, decimal_places=3, max_digits=18, null=True)),
                ("currency", models.CharField(blank=True, help_text="Of the amount.", max_length=3)),
                (
                    "duration_periods",
                    models.PositiveSmallIntegerField(blank=True, help_text="Empty: no end.", null=True),
                ),
                ("max_redemptions", models.PositiveIntegerField(blank=True, help_text="Empty: no limit.", null=True)),
                ("times_redeemed", models.PositiveIntegerField(default=0, editable=False)),
                ("valid_from", models.DateTimeField(blank=True, null=True)),
                ("valid_to", models.DateTimeField(blank=True, null=True)),
                ("is_active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField()),
                ("plans", models.ManyToManyField(blank=True, help_text="Empty: all plans.", to="billing.plan")),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("amount", None),
                                ("currency", ""),
                                ("percent__gt", 0),
                                ("percent__isnull", False),
                                ("percent__lte", 100),
                            ),
                            models.Q(
                                ("amount__gt", 0),
                                ("amount__isnull", False),
                                ("amount__lt", Decimal("999999999999")),
                                ("percent", None),
                                models.Q(("currency", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="coupon_percent_or_amount",
                        violation_error_message="State a percentage from 0 to 100, or an amount and its currency.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_redemptions", None),
                            ("times_redeemed__lte", models.F("max_redemptions")),
                            _connector="OR",
                        ),
                        name="coupon_not_overdrawn",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("duration_periods", None), ("duration_periods__gte", 1), _connector="OR"),
                        name="coupon_duration_positive",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PlanVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                (
                    "interval",
                    models.CharField(
                        choices=[("week", "week"), ("month", "month"), ("quarter", "quarter"), ("year", "year")],
                        default="month",
                        max_length=7,
                    ),
                ),
                (
                    "interval_count",
                    models.PositiveSmallIntegerField(
                        default=1, validators=[django.core.validators.MinValueValidator(1)]
                    ),
                ),
                ("trial_days", models.PositiveSmallIntegerField(default=0)),
                ("trial_credits", models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                ("included_credits", models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                (
                    "grants_monthly",
                    models.BooleanField(default=False, help_text="For periods that are longer than a month."),
                ),
                (
                    "rollover",
                    models.CharField(
                        choices=[
                            ("none", "none"),
                            ("share", "a share of what is included"),
                            ("amount", "up to an amount"),
                            ("all", "all that is left"),
                        ],
                        default="none",
                        max_length=6,
                    ),
                ),
                ("rollover_percent", models.DecimalField(blank=True, decimal_places=3, max_digits=6, null=True)),
                ("rollover_amount", models.DecimalField(blank=True, decimal_places=6, max_digits=24, null=True)),
                (
                    "rollover_periods",
                    models.PositiveSmallIntegerField(default=1, help_text="How often a credit may roll."),
                ),
                (
                    "rollover_cap",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="Of all rolled credits together.",
                        max_digits=24,
                        null=True,
                    ),
                ),
                (
                    "policy",
                    models.CharField(
                        choices=[
                            ("block", "refuse charges"),
                            ("burst", "bounded overdraft, repaid from the next grant"),
                            ("overage", "metered on, invoiced in arrears"),
                        ],
                        default="block",
                        max_length=7,
                    ),
                ),
                ("burst_limit", models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                (
                    "overage_cap",
                    models.DecimalField(
                        blank=True,
                        decimal_places=6,
                        help_text="Credits per period; empty: no cap.",
                        max_digits=24,
                        null=True,
                    ),
                ),
                (
                    "overage_model",
                    models.CharField(
                        choices=[
                            ("flat", "one price"),
                            ("graduated", "graduated: each slice at its own price"),
                            ("volume", "volume: the reached tier prices all of it"),
                        ],
                        default="flat",
                        max_length=9,
                    ),
                ),
                (
                    "overage_unit",
                    models.DecimalField(
                        decimal_places=6,
                        default=1,
                        help_text="Credits that an overage price is for, e.g. 1000.",
                        max_digits=24,
                    ),
                ),
                ("seats_included", models.PositiveIntegerField(default=0)),
                ("seats_max", models.PositiveIntegerField(blank=True, null=True)),
                ("credits_per_seat", models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                (
                    "target_segments",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=40),
                        blank=True,
                        default=list,
                        help_text="Empty: all.",
                        size=None,
                    ),
                ),
                (
                    "loyalty_steps",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text='Bonus credits: [{"from_period": 7, "percent": "5"}], of what is included.',
                    ),
                ),
                ("prices_include_tax", models.BooleanField(default=False)),
                ("note", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField()),
                ("published_at", models.DateTimeField(blank=True, null=True)),
                (
                    "dunning_policy",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.dunningpolicy"
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="versions", to="billing.plan"
                    ),
                ),
                (
                    "published_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("plan", "number"), name="plan_version_number"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("interval_count__gte", 1),
                            ("interval_count__lte", 60),
                            ("trial_credits__gte", 0),
                            ("trial_credits__lt", Decimal("999999999999999999")),
                            ("included_credits__gte", 0),
                            ("included_credits__lt", Decimal("999999999999999999")),
                            ("credits_per_seat__gte", 0),
                            ("credits_per_seat__lt", Decimal("999999999999999999")),
                            ("burst_limit__gte", 0),
                            ("burst_limit__lt", Decimal("999999999999999999")),
                            ("overage_unit__gt", 0),
                            ("overage_unit__lt", Decimal("999999999999999999")),
                            models.Q(
                                ("overage_cap", None),
                                models.Q(("overage_cap__gte", 0), ("overage_cap__lt", Decimal("999999999999999999"))),
                                _connector="OR",
                            ),
                            models.Q(
                                ("rollover_percent", None),
                                models.Q(("rollover_percent__gte", 0), ("rollover_percent__lte", 100)),
                                _connector="OR",
                            ),
                            models.Q(
                                ("rollover_amount", None),
                                models.Q(
                                    ("rollover_amount__gte", 0), ("rollover_amount__lt", Decimal("999999999999999999"))
                                ),
                                _connector="OR",
                            ),
                            models.Q(
                                ("rollover_cap", None),
                                models.Q(("rollover_cap__gte", 0), ("rollover_cap__lt", Decimal("999999999999999999"))),
                                _connector="OR",
                            ),
                        ),
                        name="plan_version_sane",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("rollover__in", ("none", "all")), ("rollover_amount", None), ("rollover_percent", None)
                            ),
                            models.Q(
                                ("rollover", "share"), ("rollover_amount", None), ("rollover_percent__isnull", False)
                            ),
                            models.Q(
                                ("rollover", "amount"), ("rollover_amount__isnull", False), ("rollover_percent", None)
                            ),
                            _connector="OR",
                        ),
                        name="plan_version_rollover_whole",
                        violation_error_message="State the percent of a share or the amount, whichever the rollover is by.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PlanPrice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", djmoney.models.fields.CurrencyField(default="USD", max_length=3)),
                ("fee", models.DecimalField(decimal_places=3, default=0, max_digits=18)),
                (
                    "seat_price",
                    models.DecimalField(decimal_places=3, default=0, help_text="Per extra seat.", max_digits=18),
                ),
                (
                    "minimum",
                    models.DecimalField(
                        decimal_places=3,
                        default=0,
                        help_text="Least that fee, seats and overage of a period come to.",
                        max_digits=18,
                    ),
                ),
                ("overage_tiers", models.JSONField(blank=True, default=list)),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="prices", to="billing.planversion"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("version", "currency"), name="plan_price_currency"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("fee__gte", 0),
                            ("fee__lt", Decimal("999999999999")),
                            ("seat_price__gte", 0),
                            ("seat_price__lt", Decimal("999999999999")),
                            ("minimum__gte", 0),
                            ("minimum__lt", Decimal("999999999999")),
                        ),
                        name="plan_price_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Posting",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.BigIntegerField()),
                (
                    "act",
                    models.CharField(
                        choices=[
                            ("grant", "Grant"),
                            ("spend", "Spend"),
                            ("expire", "Expire"),
                            ("reverse", "Reverse"),
                            ("revoke", "Revoke"),
                            ("transfer", "Transfer"),
                            ("repay", "Repay"),
                            ("rollover", "Rollover"),
                        ],
                        max_length=8,
                    ),
                ),
                ("reference", models.CharField(max_length=420)),
                (
                    "fingerprint",
                    models.BinaryField(help_text="Digest of the request, to tell a repeat from a conflict.", null=True),
                ),
                ("credits", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("amount", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("balance_before", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("balance_after", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("overdraft_after", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("posted_at", models.DateTimeField()),
                ("occurred_at", models.DateTimeField()),
                (
                    "counterpart_id",
                    models.BigIntegerField(help_text="The posting of the other pool of a transfer.", null=True),
                ),
                ("actor", models.CharField(blank=True, help_text="key:<id>, user:<id> or system.", max_length=80)),
                ("note", models.CharField(blank=True, max_length=200)),
                (
                    "hold",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="postings",
                        to="billing.hold",
                    ),
                ),
                (
                    "member",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.member",
                    ),
                ),
                (
                    "meter",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.meter",
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="postings",
                        to="billing.creditpool",
                    ),
                ),
                (
                    "reverses",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reversals",
                        to="billing.posting",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("reverses__isnull", False)), fields=["reverses"], name="posting_reverses"
                    ),
                    models.Index(condition=models.Q(("hold__isnull", False)), fields=["hold"], name="posting_hold"),
                    models.Index(
                        condition=models.Q(("act", "spend"), _negated=True),
                        fields=["pool", "version"],
                        name="posting_not_spend",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("pool", "reference"), name="posting_once"),
                    models.UniqueConstraint(fields=("pool", "version"), name="posting_version_unique"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "balance_after",
                                django.db.models.expressions.CombinedExpression(
                                    models.F("balance_before"), "+", models.F("amount")
                                ),
                            ),
                            ("credits__gte", 0),
                            ("credits__lt", Decimal("999999999999999999")),
                            ("balance_after__gte", 0),
                            ("balance_after__lt", Decimal("999999999999999999")),
                        ),
                        name="posting_adds_up",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="LedgerEntry",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "posting_id", "line", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("line", models.PositiveIntegerField()),
                (
                    "flow",
                    models.CharField(
                        choices=[
                            ("grant", "Grant"),
                            ("spend", "Spend"),
                            ("expire", "Expire"),
                            ("reverse", "Reverse"),
                            ("revoke", "Revoke"),
                            ("transfer", "Transfer"),
                        ],
                        max_length=8,
                    ),
                ),
                ("amount", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                (
                    "reverses_line",
                    models.PositiveIntegerField(help_text="Which line of the reversed posting this undoes.", null=True),
                ),
                ("repays_id", models.BigIntegerField(help_text="The overdraft lot that this spend repays.", null=True)),
                (
                    "grant",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="billing.creditgrant",
                    ),
                ),
                (
                    "posting",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="billing.posting",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("repays_id__isnull", False)), fields=["repays_id"], name="entry_repays"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("flow__in", ("grant", "reverse")),
                                ("amount__gt", 0),
                                ("amount__lt", Decimal("999999999999999999")),
                            ),
                            models.Q(("flow__in", ("spend", "expire", "revoke", "transfer")), ("amount__lt", 0)),
                            _connector="OR",
                        ),
                        name="entry_sign",
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="posting",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="billing.posting",
            ),
        ),
        migrations.CreateModel(
            name="EventReversal",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "account_id", "event_id", "source", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("event_id", models.CharField(max_length=200)),
                ("source", models.CharField(blank=True, max_length=200)),
                ("credits", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("actor", models.CharField(blank=True, max_length=80)),
                ("created_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.account"
                    ),
                ),
                (
                    "posting",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.posting"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Purchase",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token", models.UUIDField(unique=True)),
                (
                    "fingerprint",
                    models.BinaryField(
                        help_text="Of what was asked for, to tell a repeat from another.", max_length=32
                    ),
                ),
                ("credits", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("created_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="purchases", to="billing.account"
                    ),
                ),
                (
                    "buyer",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "invoice",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="purchase", to="billing.invoice"
                    ),
                ),
                ("pack", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="billing.pack")),
                ("pool", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="billing.creditpool")),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("credits__gt", 0), ("credits__lt", Decimal("999999999999999999"))),
                        name="purchase_sane",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RateCard",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=60,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9][a-z0-9._-]{0,59}\\Z",
                                "Use 1 to 60 lower-case letters, digits or . _ - and start with a letter or digit.",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("is_default", models.BooleanField(default=False, help_text="For accounts that have no other card.")),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)), fields=("is_default",), name="rate_card_one_default"
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="planversion",
            name="rate_card",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.ratecard"
            ),
        ),
        migrations.CreateModel(
            name="RateCardAssignment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("contract", "Contract"),
                            ("grandfathered", "Grandfathered"),
                            ("experiment", "Experiment"),
                            ("plan", "Plan"),
                        ],
                        max_length=14,
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rate_card_assignments",
                        to="billing.account",
                    ),
                ),
                ("rate_card", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="billing.ratecard")),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at", None), ("ends_at__gt", models.F("starts_at")), _connector="OR"),
                        name="rate_card_assignment_order",
                    ),
                    django.contrib.postgres.constraints.ExclusionConstraint(
                        expressions=[
                            (
                                billing.catalog.models._TstzRange(
                                    "starts_at", "ends_at", django.contrib.postgres.fields.ranges.RangeBoundary()
                                ),
                                "&&",
                            ),
                            ("account", "="),
                            ("kind", "="),
                        ],
                        name="rate_card_assignment_no_overlap",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RateCardVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("effective_at", models.DateTimeField(blank=True, null=True)),
                (
                    "counts_by",
                    models.CharField(
                        choices=[("billing_period", "Billing period"), ("calendar_month", "Calendar month")],
                        default="billing_period",
                        help_text=(
                            "When tiers, packages, free units and minimums start again from zero. "
                            "Accounts without a plan have calendar months either way."
                        ),
                        max_length=14,
                    ),
                ),
                ("published_at", models.DateTimeField(blank=True, null=True)),
                ("note", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField()),
                (
                    "published_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "rate_card",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="versions", to="billing.ratecard"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("rate_card", "number"), name="rate_card_version_number"),
                    models.UniqueConstraint(
                        condition=models.Q(("published_at__isnull", False)),
                        fields=("rate_card", "effective_at"),
                        name="rate_card_version_one_per_moment",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("published_at", None), ("effective_at__isnull", False), _connector="OR"),
                        name="rate_card_version_published_has_start",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Rate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("match", models.JSONField(blank=True, default=dict)),
                (
                    "model",
                    models.CharField(
                        choices=[("per_unit", "Per Unit"), ("per_package", "Per Package"), ("graduated", "Graduated")],
                        default="per_unit",
                        max_length=12,
                    ),
                ),
                (
                    "price",
                    models.DecimalField(
                        decimal_places=12, default=0, help_text="Credits per unit size.", max_digits=24
                    ),
                ),
                (
                    "unit_size",
                    models.DecimalField(decimal_places=6, default=1, help_text="e.g. 1000 tokens.", max_digits=24),
                ),
                ("tiers", models.JSONField(blank=True, default=list)),
                (
                    "minimum",
                    models.DecimalField(decimal_places=6, default=0, help_text="Credits per period.", max_digits=24),
                ),
                (
                    "rounding",
                    models.CharField(
                        choices=[("half_even", "Half Even"), ("half_up", "Half Up"), ("up", "Up"), ("down", "Down")],
                        default="half_even",
                        max_length=10,
                    ),
                ),
                (
                    "decimals",
                    models.PositiveSmallIntegerField(default=6, help_text="Credits are rounded to this many decimals."),
                ),
                (
                    "meter",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="rates", to="billing.meter"
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="rates", to="billing.ratecardversion"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("version", "meter", "match"), name="rate_unique"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("price__gte", 0),
                            ("price__lt", Decimal("999999999999")),
                            ("unit_size__gt", 0),
                            ("unit_size__lt", Decimal("999999999999999999")),
                            ("minimum__gte", 0),
                            ("minimum__lt", Decimal("999999999999999999")),
                            ("decimals__lte", 6),
                        ),
                        name="rate_numbers_sane",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Refund",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("idempotency_key", models.CharField(max_length=250, unique=True)),
                ("gateway_reference", models.CharField(blank=True, max_length=100)),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("created", "Created"),
                            ("processing", "Processing"),
                            ("unknown", "Outcome unknown"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                        ],
                        default="created",
                        max_length=10,
                    ),
                ),
                ("attempt", models.PositiveSmallIntegerField(default=1)),
                ("failure_message", models.CharField(blank=True, max_length=300)),
                ("next_check_at", models.DateTimeField(blank=True, null=True)),
                ("checks", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "credit_note",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refund",
                        to="billing.creditnote",
                    ),
                ),
                (
                    "invoice_credit",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refunds",
                        to="billing.invoicecredit",
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="refunds", to="billing.payment"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_check_at__isnull", False)),
                        fields=["next_check_at"],
                        name="refund_due",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0), ("amount__lt", 100000000000000)), name="refund_sane"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("finished_at__isnull", False),
                                ("next_check_at", None),
                                ("state__in", ("succeeded", "failed")),
                            ),
                            models.Q(
                                ("finished_at", None),
                                ("next_check_at__isnull", False),
                                ("state__in", ("created", "processing", "unknown")),
                            ),
                            _connector="OR",
                        ),
                        name="refund_live_is_checked",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Dispute",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("dispute", "Disputed by the payer"), ("refund", "Refunded at the gateway")],
                        default="dispute",
                        max_length=7,
                    ),
                ),
                (
                    "gateway",
                    models.CharField(
                        choices=[("sandbox", "Sandbox"), ("stripe", "Stripe"), ("manual", "Bank transfer")],
                        max_length=20,
                    ),
                ),
                ("gateway_reference", models.CharField(max_length=100)),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("reason", models.CharField(blank=True, max_length=60)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("inquiry", "Inquiry"),
                            ("open", "Open"),
                            ("won", "Won"),
                            ("lost", "Lost"),
                            ("closed", "Closed"),
                        ],
                        max_length=7,
                    ),
                ),
                ("respond_by", models.DateTimeField(blank=True, null=True)),
                (
                    "taken_back_at",
                    models.DateTimeField(blank=True, help_text="When what it paid for was taken back.", null=True),
                ),
                ("opened_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="disputes", to="billing.payment"
                    ),
                ),
                (
                    "refund",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="dispute",
                        to="billing.refund",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("gateway", "gateway_reference"), name="dispute_unique"),
                    models.CheckConstraint(
                        condition=models.Q(("amount__gt", 0), ("amount__lt", 100000000000000)), name="dispute_sane"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("closed_at", None), ("state__in", ("inquiry", "open"))),
                            models.Q(("closed_at__isnull", False), ("state__in", ("won", "lost", "closed"))),
                            _connector="OR",
                        ),
                        name="dispute_over_is_closed",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RejectedEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.CharField(blank=True, max_length=200)),
                ("source", models.CharField(blank=True, max_length=200)),
                ("body", models.TextField()),
                ("digest", models.BinaryField(max_length=16, null=True)),
                ("code", models.CharField(max_length=40)),
                ("detail", models.CharField(max_length=300)),
                ("door", models.CharField(default="api", help_text="How it came in, such as api or import.", max_length=20)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("replayed", "Replayed"), ("dismissed", "Dismissed")],
                        default="open",
                        max_length=9,
                    ),
                ),
                ("received_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(help_text="When it was replayed or dismissed.", null=True)),
                ("attempts", models.PositiveIntegerField(default=0)),
                (
                    "account",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, to="billing.account"),
                ),
                (
                    "api_key",
                    models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to="billing.apikey"),
                ),
                (
                    "bound_account",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.account",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(condition=models.Q(("state", "open")), fields=["id"], name="rejected_open")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")), fields=("digest",), name="rejected_open_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SandboxCharge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("idempotency_key", models.CharField(max_length=250, unique=True)),
                ("reference", models.CharField(max_length=100, unique=True)),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("currency", djmoney.models.fields.CurrencyField(default=None, max_length=3)),
                ("description", models.CharField(blank=True, max_length=200)),
                ("state", models.CharField(max_length=15)),
                ("failure_code", models.CharField(blank=True, max_length=40)),
                ("return_url", models.CharField(blank=True, max_length=500)),
                ("refunded", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                ("created_at", models.DateTimeField()),
                ("settles_at", models.DateTimeField()),
                ("answers_at", models.DateTimeField()),
                ("action_until", models.DateTimeField(blank=True, null=True)),
                ("dispute_reference", models.CharField(blank=True, max_length=100)),
                (
                    "dispute_amount",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                ("dispute_state", models.CharField(blank=True, max_length=7)),
                (
                    "card",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="charges", to="billing.sandboxcard"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("amount__gt", 0), ("refunded__gte", 0), ("refunded__lte", models.F("amount"))
                        ),
                        name="sandbox_charge_sane",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SandboxEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("event_id", models.CharField(max_length=120, unique=True)),
                ("kind", models.CharField(max_length=60)),
                ("payload", models.JSONField()),
                ("created_at", models.DateTimeField()),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("sends_left", models.PositiveSmallIntegerField(default=1)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("last_error", models.CharField(blank=True, max_length=300)),
                (
                    "charge",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="events", to="billing.sandboxcharge"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="sandbox_event_due"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SandboxRefund",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("idempotency_key", models.CharField(max_length=250, unique=True)),
                ("reference", models.CharField(max_length=100, unique=True)),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("state", models.CharField(max_length=15)),
                ("failure_message", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField()),
                ("answers_at", models.DateTimeField()),
                (
                    "charge",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="refunds", to="billing.sandboxcharge"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SealedRange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first_version", models.BigIntegerField()),
                ("last_version", models.BigIntegerField()),
                ("digest", models.BinaryField(max_length=32)),
                (
                    "pool",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.creditpool",
                    ),
                ),
                (
                    "seal",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="ranges", to="billing.ledgerseal"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("pool", "first_version"), name="sealed_range_unique"),
                    models.CheckConstraint(
                        condition=models.Q(("last_version__gte", models.F("first_version"))), name="sealed_range_order"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StaffAct",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("act", models.CharField(max_length=40)),
                ("model", models.CharField(max_length=60)),
                ("row_id", models.CharField(blank=True, max_length=60)),
                ("label", models.CharField(blank=True, max_length=200)),
                ("before", models.JSONField(default=dict)),
                ("after", models.JSONField(default=dict)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("request_id", models.CharField(blank=True, max_length=64)),
                ("client", models.GenericIPAddressField(blank=True, null=True)),
                ("acted_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="staff_acts",
                        to="billing.account",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="staff_acts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["-acted_at"], name="staff_act_by_time"),
                    models.Index(fields=["model", "row_id"], name="staff_act_of_row"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(help_text="Of the request that made it.", max_length=250, unique=True)),
                (
                    "currency",
                    djmoney.models.fields.CurrencyField(
                        default=None, max_length=3, validators=[billing.accounts.fields.validate_currency]
                    ),
                ),
                ("seats", models.PositiveIntegerField(default=0)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("incomplete", "waiting for its first payment"),
                            ("trialing", "in trial"),
                            ("active", "active"),
                            ("past_due", "payment overdue"),
                            ("paused", "paused"),
                            ("cancelled", "cancelled, runs out"),
                            ("ended", "ended"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "collection",
                    models.CharField(
                        choices=[
                            ("automatic", "charge the payment method"),
                            ("manual", "send an invoice to be paid by bank transfer"),
                        ],
                        default="automatic",
                        max_length=9,
                    ),
                ),
                (
                    "payment_terms_days",
                    models.PositiveSmallIntegerField(
                        blank=True, help_text="Days to pay an invoice by transfer. Empty: the issuer's.", null=True
                    ),
                ),
                (
                    "anchor_on",
                    models.DateField(help_text="Periods are counted from this day, in the account's time zone."),
                ),
                (
                    "anchor_number",
                    models.PositiveIntegerField(default=1, help_text="Number of the period that begins on the anchor."),
                ),
                ("period_number", models.PositiveIntegerField(default=1, help_text="0 is the trial.")),
                ("period_starts_at", models.DateTimeField()),
                ("period_ends_at", models.DateTimeField()),
                ("next_due_at", models.DateTimeField(blank=True, null=True)),
                ("started_at", models.DateTimeField()),
                ("trial_ends_at", models.DateTimeField(blank=True, null=True)),
                ("trial_reminded_at", models.DateTimeField(blank=True, null=True)),
                ("past_due_at", models.DateTimeField(blank=True, null=True)),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("cancelled_at", models.DateTimeField(blank=True, null=True)),
                ("cancel_reason", models.CharField(blank=True, max_length=200)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("parked_at", models.DateTimeField(blank=True, null=True)),
                ("problem", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="subscriptions", to="billing.account"
                    ),
                ),
                (
                    "method",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="billing.paymentmethod",
                    ),
                ),
                (
                    "plan_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="subscriptions",
                        to="billing.planversion",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_due_at__isnull", False), ("parked_at", None)),
                        fields=["next_due_at"],
                        name="subscription_due",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "ended"), _negated=True),
                        fields=("account",),
                        name="subscription_one_live_per_account",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("period_ends_at__gt", models.F("period_starts_at"))),
                        name="subscription_period_order",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at__isnull", False), ("next_due_at", None), ("state", "ended")),
                            models.Q(models.Q(("state", "ended"), _negated=True), ("ended_at", None)),
                            _connector="OR",
                        ),
                        name="subscription_ended_is_over",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ScheduledChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seats", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("actor", models.CharField(blank=True, max_length=80)),
                ("applied_at", models.DateTimeField(blank=True, null=True)),
                ("withdrawn_at", models.DateTimeField(blank=True, null=True)),
                (
                    "plan_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.planversion"
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="scheduled_changes",
                        to="billing.subscription",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("applied_at", None), ("withdrawn_at", None)),
                        fields=("subscription",),
                        name="scheduled_change_one_waits",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="OverageCharge",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "number",
                    models.PositiveIntegerField(
                        default=1, help_text="Counted by lot: a late reversal makes a further one."
                    ),
                ),
                (
                    "credits",
                    billing.ledger.models.CreditsField(
                        decimal_places=6,
                        help_text="Negative where credits that were billed have been reversed.",
                        max_digits=24,
                    ),
                ),
                ("amount", billing.invoicing.models.MoneyAmountField(decimal_places=3, max_digits=18)),
                ("created_at", models.DateTimeField()),
                (
                    "grant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.creditgrant"
                    ),
                ),
                (
                    "invoice",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.invoice",
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="overage_charges",
                        to="billing.subscription",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("grant", "number"), name="overage_charge_once")],
            },
        ),
        migrations.CreateModel(
            name="CouponRedemption",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("periods_left", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "coupon",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="redemptions", to="billing.coupon"
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="redemptions",
                        to="billing.subscription",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("subscription", "coupon"), name="coupon_once_per_subscription")
                ],
            },
        ),
        migrations.CreateModel(
            name="Allocation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(help_text="<subscription>:<period>:<part>", max_length=250, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("allocation", "Allocation"),
                            ("purchase", "Purchase"),
                            ("bonus", "Bonus"),
                            ("loyalty", "Loyalty"),
                            ("streak", "Streak"),
                            ("referral", "Referral"),
                            ("milestone", "Milestone"),
                            ("goodwill", "Goodwill"),
                            ("adjustment", "Adjustment"),
                            ("rollover", "Rollover"),
                            ("transfer", "Transfer"),
                            ("overage", "Overage"),
                            ("overdraft", "Overdraft"),
                        ],
                        default="allocation",
                        max_length=10,
                    ),
                ),
                ("credits", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("cost_basis", models.DecimalField(decimal_places=12, default=Decimal("0"), max_digits=24)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("waits_for_payment", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField()),
                ("granted_at", models.DateTimeField(blank=True, null=True)),
                ("cancelled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "dispute",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.dispute",
                    ),
                ),
                (
                    "invoice",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.invoice",
                    ),
                ),
                (
                    "posting",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.posting",
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="allocations",
                        to="billing.subscription",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("cancelled_at", None), ("granted_at", None)),
                        fields=["starts_at"],
                        name="allocation_due",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("credits__gt", 0),
                            ("credits__lt", Decimal("999999999999999999")),
                            ("cost_basis__gte", 0),
                            ("cost_basis__lt", Decimal("999999999999")),
                            ("ends_at__gt", models.F("starts_at")),
                        ),
                        name="allocation_sane",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SubscriptionChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "act",
                    models.CharField(
                        choices=[
                            ("subscribe", "subscribed"),
                            ("activate", "became active"),
                            ("renew", "renewed"),
                            ("change", "plan or seats changed"),
                            ("schedule", "change scheduled"),
                            ("unschedule", "scheduled change withdrawn"),
                            ("past_due", "payment overdue"),
                            ("recover", "overdue payment arrived"),
                            ("pause", "paused"),
                            ("resume", "resumed"),
                            ("cancel", "cancelled"),
                            ("reactivate", "cancellation withdrawn"),
                            ("end", "ended"),
                            ("coupon", "coupon redeemed"),
                            ("contract", "contract terms set"),
                            ("dispute", "payment disputed"),
                            ("restore", "disputed payment came back"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reference", models.CharField(max_length=250, unique=True)),
                ("at", models.DateTimeField()),
                ("from_seats", models.PositiveIntegerField(null=True)),
                ("to_seats", models.PositiveIntegerField(null=True)),
                ("details", models.JSONField(default=dict)),
                ("actor", models.CharField(blank=True, help_text="key:<id>, user:<id> or system.", max_length=80)),
                (
                    "from_version",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.planversion",
                    ),
                ),
                (
                    "invoice",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.invoice"
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="changes", to="billing.subscription"
                    ),
                ),
                (
                    "to_version",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.planversion",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SubscriptionPeriod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("seats", models.PositiveIntegerField(default=0)),
                ("fee", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                ("seats_fee", billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18)),
                ("discounts", models.JSONField(blank=True, default=list)),
                ("overage_credits", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                (
                    "overage_amount",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                (
                    "true_up_amount",
                    billing.invoicing.models.MoneyAmountField(decimal_places=3, default=0, max_digits=18),
                ),
                ("created_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, help_text="When its arrears were billed.", null=True)),
                (
                    "invoice",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.invoice",
                    ),
                ),
                (
                    "plan_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.planversion"
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="periods", to="billing.subscription"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("subscription", "number"), name="subscription_period_once"),
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="subscription_period_lasts"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TaxExemption",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "country",
                    models.CharField(
                        max_length=2,
                        validators=[django.core.validators.RegexValidator("^[A-Z]{2}\\Z", "Use a two-letter code.")],
                    ),
                ),
                (
                    "region",
                    models.CharField(
                        blank=True, help_text="ISO 3166-2 code without the country; empty: all.", max_length=10
                    ),
                ),
                ("number", models.CharField(help_text="As the certificate has it; invoices name it.", max_length=60)),
                ("note", models.CharField(blank=True, help_text="Who issued it, why: for staff.", max_length=200)),
                ("valid_from", models.DateField()),
                (
                    "valid_to",
                    models.DateField(blank=True, help_text="The first day it does not count any more.", null=True),
                ),
                ("created_at", models.DateTimeField()),
                ("withdrawn_at", models.DateTimeField(blank=True, null=True)),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="tax_exemptions", to="billing.account"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("withdrawn_at", None)), fields=["account"], name="tax_exemption_good"
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("valid_to", None), ("valid_to__gt", models.F("valid_from")), _connector="OR"
                        ),
                        name="tax_exemption_order",
                        violation_error_message="A certificate must end after it begins.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("number", ""), _negated=True), name="tax_exemption_numbered"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TaxNumberCheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("country", models.CharField(max_length=2)),
                ("tax_number", models.CharField(max_length=32)),
                ("vat_id", models.CharField(help_text="As it was asked about.", max_length=16)),
                (
                    "state",
                    models.CharField(
                        choices=[("valid", "confirmed"), ("invalid", "not registered"), ("unknown", "not known yet")],
                        default="unknown",
                        max_length=7,
                    ),
                ),
                (
                    "name",
                    models.CharField(blank=True, help_text="Of the business, as the register has it.", max_length=200),
                ),
                ("address", models.CharField(blank=True, max_length=500)),
                ("reference", models.CharField(blank=True, max_length=60)),
                ("problem", models.CharField(blank=True, help_text="Why the last try gave no answer.", max_length=200)),
                ("tries", models.PositiveSmallIntegerField(default=0, help_text="Since the last answer.")),
                ("created_at", models.DateTimeField()),
                ("answered_at", models.DateTimeField(blank=True, null=True)),
                ("next_check_at", models.DateTimeField()),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tax_number_checks",
                        to="billing.account",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("account", "country", "tax_number"), name="tax_number_check_once"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("answered_at", None), ("state", "unknown")),
                            models.Q(models.Q(("state", "unknown"), _negated=True), ("answered_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="tax_number_check_answered",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TaxRate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "country",
                    models.CharField(
                        max_length=2,
                        validators=[django.core.validators.RegexValidator("^[A-Z]{2}\\Z", "Use a two-letter code.")],
                    ),
                ),
                (
                    "region",
                    models.CharField(
                        blank=True, help_text="ISO 3166-2 code without the country; empty: all.", max_length=10
                    ),
                ),
                ("category", models.CharField(default="standard", max_length=20)),
                (
                    "name",
                    models.CharField(
                        default="VAT", help_text="As the invoice calls it: VAT, GST, sales tax.", max_length=40
                    ),
                ),
                ("percent", models.DecimalField(decimal_places=3, max_digits=6)),
                ("valid_from", models.DateField()),
                ("valid_to", models.DateField(blank=True, null=True)),
                ("source", models.CharField(blank=True, max_length=200)),
                ("source_on", models.DateField(blank=True, null=True)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("percent__gte", 0), ("percent__lte", 100)),
                        name="tax_rate_sane",
                        violation_error_message="A rate is from 0 to 100 percent.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("valid_to", None), ("valid_to__gt", models.F("valid_from")), _connector="OR"
                        ),
                        name="tax_rate_order",
                        violation_error_message="A rate must end after it begins.",
                    ),
                    django.contrib.postgres.constraints.ExclusionConstraint(
                        expressions=[
                            (
                                billing.invoicing.tax_models._DateRange(
                                    "valid_from", "valid_to", django.contrib.postgres.fields.ranges.RangeBoundary()
                                ),
                                "&&",
                            ),
                            ("country", "="),
                            ("region", "="),
                            ("category", "="),
                        ],
                        name="tax_rate_no_overlap",
                        violation_error_message="Another rate of this place and category is in force in that time.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TestClock",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("target_at", models.DateTimeField(blank=True, null=True)),
                ("locked_until", models.DateTimeField(blank=True, null=True)),
                ("problem", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField(help_text="In real time.")),
                (
                    "account",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="test_clock", to="billing.account"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("target_at__isnull", False)), fields=["target_at"], name="test_clock_moving"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TopUpRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("is_active", models.BooleanField(default=True)),
                ("threshold", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("credits", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("max_count", models.PositiveSmallIntegerField(help_text="Top-ups a month.")),
                (
                    "max_money",
                    billing.invoicing.models.MoneyAmountField(
                        decimal_places=3, help_text="Money a month, tax included.", max_digits=18
                    ),
                ),
                ("failures", models.PositiveSmallIntegerField(default=0, editable=False)),
                ("waits_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("switched_off_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("switched_off_reason", models.CharField(blank=True, editable=False, max_length=200)),
                ("capped_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("changed_at", models.DateTimeField()),
                (
                    "failed_method",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.paymentmethod",
                    ),
                ),
                (
                    "method",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: the account's default.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.paymentmethod",
                    ),
                ),
                ("pack", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="billing.pack")),
                (
                    "pool",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="top_up_rule", to="billing.creditpool"
                    ),
                ),
            ],
            options={
                "verbose_name": "top-up rule",
                "indexes": [
                    models.Index(condition=models.Q(("is_active", True)), fields=["pool"], name="top_up_rule_active")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("credits__gt", 0),
                            ("credits__lt", Decimal("999999999999999999")),
                            ("threshold__gt", 0),
                            ("threshold__lt", Decimal("999999999999999999")),
                            ("max_count__gt", 0),
                            ("max_money__gt", 0),
                            ("max_money__lt", 100000000000000),
                        ),
                        name="top_up_rule_sane",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TopUp",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("succeeded", "Succeeded"), ("failed", "Failed")],
                        default="open",
                        max_length=9,
                    ),
                ),
                ("month", models.DateField(help_text="First day of the month it counts in.")),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "invoice",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="top_up", to="billing.invoice"
                    ),
                ),
                (
                    "rule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="top_ups", to="billing.topuprule"
                    ),
                ),
            ],
            options={
                "verbose_name": "top-up",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "open")), fields=("rule",), name="top_up_one_under_way"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UniqueValue",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period_starts_at", models.DateTimeField()),
                ("value", models.BinaryField(max_length=16)),
                ("events", models.BigIntegerField()),
                ("event_id", models.CharField(max_length=200)),
                ("source", models.CharField(blank=True, max_length=200)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.account"
                    ),
                ),
                (
                    "meter",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.meter"),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "period_starts_at", "meter", "value"), name="unique_value_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageCounter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("dimension", models.CharField(max_length=500)),
                ("period_starts_at", models.DateTimeField()),
                ("quantity", models.DecimalField(decimal_places=6, max_digits=30)),
                ("correction", models.DecimalField(decimal_places=6, default=0, max_digits=30)),
                (
                    "account",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.account"
                    ),
                ),
                (
                    "meter",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.meter"),
                ),
                (
                    "rate",
                    models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="billing.rate"),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("account", "period_starts_at", "meter", "rate"), name="usage_counter_unique"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UsageEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "account_id", "event_id", "source", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("event_id", models.CharField(max_length=200)),
                ("source", models.CharField(blank=True, max_length=200)),
                ("quantity", models.DecimalField(decimal_places=6, max_digits=24)),
                ("counted", models.DecimalField(decimal_places=6, max_digits=24)),
                ("properties", models.JSONField(default=dict)),
                ("occurred_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("late", models.BooleanField(default=False)),
                ("credits", billing.ledger.models.CreditsField(decimal_places=6, max_digits=24)),
                ("unit_cost", models.DecimalField(decimal_places=12, max_digits=24)),
                ("burn_offset", billing.ledger.models.CreditsField(decimal_places=6, default=0, max_digits=24)),
                ("period_starts_at", models.DateTimeField(help_text="Start of the period it was priced in.")),
                ("fingerprint", models.BinaryField(max_length=16)),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.account",
                    ),
                ),
                (
                    "member",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.member",
                    ),
                ),
                (
                    "meter",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.meter",
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.creditpool",
                    ),
                ),
                (
                    "posting",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.posting",
                    ),
                ),
                (
                    "rate",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="billing.rate",
                    ),
                ),
            ],
            options={
                "indexes": [
                    django.contrib.postgres.indexes.BrinIndex(
                        autosummarize=True, fields=["received_at"], name="usage_event_arrival", pages_per_range=32
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("quantity__gte", 0),
                            ("quantity__lt", Decimal("999999999999999999")),
                            ("counted__gte", 0),
                            ("counted__lt", Decimal("999999999999999999")),
                            ("credits__gte", 0),
                            ("credits__lt", Decimal("999999999999999999")),
                        ),
                        name="usage_event_sane",
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="hold",
            index=models.Index(condition=models.Q(("state", "open")), fields=["member"], name="hold_open_of_member"),
        ),
    ]
    operations = [
        BtreeGistExtension(),
        Together(tables),
        migrations.RunSQL(_ids.FORWARD),
        migrations.RunSQL(_guards.FORWARD),
    ]
