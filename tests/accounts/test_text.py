"""Line breaks, bidirectional controls and invisible characters are refused wherever text is typed."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from django import forms
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import CharField, TextField
from django.test import Client
from rest_framework import serializers

import billing.admin
import billing.api
import portal
from billing.accounts.models import Account
from billing.accounts.text import find_hidden, validate_lines, validate_name, without_hidden
from billing.api.fields import Strict
from tests.api.asking import Api, assert_problem, written
from tests.factories import make_account, make_key

HIDDEN = [
    "\n", "\r", "\t", "\x0b", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069",
    "\u200e", "\u061c", "\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u180e", "\u115f", "\u3164",
    "\u2800", "\ufe0f", "\ue000", "\U000e0041", "\U000e0100", "\ufff9", "\uffff",
]  # fmt: skip
# Joiners that Persian and Hindi are written with, accents of their own, emoji, and blanks that one sees.
GOOD = [
    "Ångström & Söhne GmbH", "株式会社サンプル", "می‌خواهم", "श्री लङ्‍का", "A\u0308rzte", "Łódź\u00a0AG", "日本\u3000支店",
    "\U0001f680 Rockets", "I \u2764\ufe0f credits", "מאיר בע״מ",
]  # fmt: skip
# Texts of the database that programs write: ids, digests, codes, keys that have validators of their own, errors.
MACHINES = {
    "Account": {"gateway"}, "TestClock": {"problem"}, "User": {"password"}, "ApiKey": {"prefix"},
    "IdempotencyKey": {"key", "body", "content_type"}, "Throttle": {"name"},
    "StaffAct": {"act", "model", "row_id", "label", "request_id"}, "Approval": {"act", "reference", "currency"},
    "Posting": {"reference", "actor"}, "Hold": {"reference", "properties"}, "CreditPool": {"cycle_interval"},
    "TaxNumberCheck": {"country", "tax_number", "vat_id", "name", "address", "reference", "problem"},
    "TaxCalculation": {"fingerprint", "engine", "reference"}, "Coupon": {"currency"},
    "Invoice": {"reference", "number", "content_hash"}, "InvoiceLine": {"period_reference"},
    "CreditNote": {"reference", "number", "content_hash", "actor"},
    "PendingItem": {"reference", "period_reference", "actor"}, "UsageEvent": {"event_id", "source"},
    "EventReversal": {"event_id", "source", "actor"}, "UsageCounter": {"dimension"},
    "UniqueValue": {"event_id", "source"},
    "GaugeSeries": {"series"}, "GaugeReading": {"series", "event_id", "source"},
    "RejectedEvent": {"event_id", "body", "code", "detail", "source", "door"},
    "Notification": {"kind", "dedupe_key", "email", "request_id"}, "NotificationDelivery": {"address", "last_error"},
    "NotificationPreference": {"kind"}, "GatewayCustomer": {"reference"},
    "PaymentMethod": {"gateway_reference", "customer_reference", "brand", "last4"},
    "CardSetup": {"key", "gateway_reference", "url"}, "BankTransfer": {"reference", "actor"},
    "Payment": {
        "idempotency_key", "gateway_reference", "failure_code", "failure_message", "action_url", "return_url",
        "problem",
    },
    "Refund": {"idempotency_key", "gateway_reference", "failure_message"}, "Dispute": {"gateway_reference", "reason"},
    "GatewayEvent": {"event_id", "kind", "last_error", "request_id"}, "SandboxCard": {"reference"},
    "SandboxCharge": {
        "idempotency_key", "reference", "description", "state", "failure_code", "return_url", "dispute_reference",
        "dispute_state",
    },
    "SandboxRefund": {"idempotency_key", "reference", "state", "failure_message"},
    "SandboxEvent": {"event_id", "kind", "last_error"}, "Collection": {"last_error"},
    "TopUpRule": {"switched_off_reason"}, "Subscription": {"reference", "problem"}, "Allocation": {"reference"},
    "SubscriptionChange": {"reference", "actor"}, "ScheduledChange": {"actor"}, "ContractTerms": {"actor"},
}  # fmt: skip


def test_what_is_hidden_is_found_and_what_people_write_is_not() -> None:
    assert [hidden for hidden in HIDDEN if find_hidden(f"Ac{hidden}me") != hidden] == []
    assert [good for good in GOOD if find_hidden(good)] == []
    validate_lines("Main Street 1\r\n12345 Town")
    for refuse, text in ((validate_name, "a\nb"), (validate_lines, "a\u202eb"), (validate_lines, "a\u2028b")):
        with pytest.raises(ValidationError):
            refuse(text)


def test_text_from_elsewhere_becomes_one_line_without_what_it_hides() -> None:
    assert without_hidden(" Acme\r\n\tBcc:\u202e x\u200b \u2764\ufe0f ") == "Acme Bcc: x \u2764\ufe0f"


def _is_refused(run: Any, field: Any) -> bool:
    try:
        run("acme@exa\u202emple.com" if "Email" in type(field).__name__ else "Ac\u202eme")
    except (ValidationError, serializers.ValidationError):
        return True
    return False


def test_every_text_of_every_table_that_people_name_things_by_refuses_what_is_hidden() -> None:
    taken, known, count = set(), set(), 0
    for model in apps.get_app_config("billing").get_models():
        for field in model._meta.fields:
            if not isinstance(field, CharField | TextField) or field.choices or "currency" in field.name:
                continue
            count += 1
            if field.name in MACHINES.get(model.__name__, ()):
                known.add((model.__name__, field.name))
            elif not _is_refused(field.run_validators, field):
                taken.add((model.__name__, field.name))
    assert count > 150
    assert taken == set()
    stale = {(model, name) for model, names in MACHINES.items() for name in names} - known
    assert {row for row in stale if row[1] != "currency"} == set()


def _modules(package: Any) -> Iterator[Any]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def _classes(package: Any, base: type) -> set[type]:
    return {
        each for module in _modules(package) for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, base) and each.__module__.startswith(package.__name__)
    }  # fmt: skip


def test_every_text_of_every_form_refuses_what_is_hidden() -> None:
    taken, count = set(), 0
    for form in _classes(portal, forms.BaseForm) | _classes(billing.admin, forms.BaseForm):
        for name, field in form.base_fields.items():  # type: ignore[attr-defined]
            if not isinstance(field, forms.CharField) or isinstance(field.widget, forms.PasswordInput):
                continue
            # The entrance's own are given their validators when a form is made; codes are only compared.
            if any(name in getattr(base, "base_fields", ()) for base in form.__mro__ if "allauth" in base.__module__):
                continue
            count += 1
            # A form of a model leaves it to the model's field.
            model = getattr(getattr(form, "_meta", None), "model", None)
            columns = {column.name: column for column in model._meta.fields} if model else {}
            runs = [field.clean, *([columns[name].run_validators] if name in columns else [])]
            if not any(_is_refused(run, field) for run in runs):
                taken.add((form.__name__, name))
    assert count > 50
    assert taken == set()


def test_every_string_that_the_api_takes_refuses_what_is_hidden() -> None:
    taken, count = set(), 0
    for reader in _classes(billing.api, Strict):
        for name, field in reader().fields.items():
            field = getattr(field, "child", field)
            if isinstance(field, serializers.CharField) and not field.read_only:
                count += 1
                if not _is_refused(field.run_validation, field):
                    taken.add((reader.__name__, name))
    assert count > 60
    assert taken == set()


@pytest.mark.django_db
def test_nobody_signs_up_with_an_invisible_name_or_address(client: Client) -> None:
    form = {
        "name": "Al", "email": "al@example.com", "password1": "correct horse battery", "company": "Acme",
        "country": "DE", "currency": "USD", "time_zone": "UTC",
    }  # fmt: skip
    for name, value in (("name", "A\u202el"), ("company", "Ac\u200bme"), ("email", "al@exa\u202emple.com")):
        page = client.post("/signup", {**form, name: value})
        assert (page.status_code, [*page.context["form"].errors]) == (200, [name])
    assert not Account.objects.exists()


@pytest.mark.django_db
def test_an_account_is_not_named_invisibly_and_nothing_is_written() -> None:
    make_account("acme")
    api, before = Api(make_key()[1]), written()
    for name in ("Ac\u202eme", "Acme\nBcc: x@example.com", "Ac\u200bme"):
        assert_problem(api.patch("/accounts/acme", {"name": name}), 400, "invalid_request", "name")
    assert api.patch("/accounts/acme", {"address": "Street 1\n12345 Town"}).status_code == 200
    assert written() == before
    assert Account.objects.get().name == "Acme"
