"""Powers over rights: who is staff, who owns an account, which programs may act, and where customers' money goes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.utils.translation import gettext as _

from billing.accounts import addresses, keys, members
from billing.accounts.approvals import Worth
from billing.accounts.models import Account, ApiKey, Approval, Member, Role, Scope, User
from billing.admin.powers.power import CannotBeDone, Payload
from billing.invoicing import issuers
from billing.invoicing.models import Issuer
from billing.notifications import invitations

MANAGERS = (Role.OWNER, Role.ADMIN)


# --- Guarded columns -------------------------------------------------------------------------------------------------
def change_payload(row: Model, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What asks for guarded columns of a row to be changed: values as JSON, rows of a many-to-many by their ids."""
    many = {field.name for field in row._meta.many_to_many}
    values = {
        name: sorted(each.pk for each in value) if name in many else value for name, value in changes.items()
    }  # fmt: skip
    return {"model": row._meta.label_lower, "row_id": row.pk, "changes": values}


def row_of(asked: Payload) -> Model | None:
    """The row whose guarded columns are changed."""
    found: Model = apps.get_model(asked["model"])._default_manager.get(pk=asked["row_id"])
    return found


def change(approval: Approval, now: datetime) -> Model:
    """Write guarded columns as they were asked for."""
    row = row_of(approval.payload)
    assert row is not None  # noqa: S101  `get` raises
    many = {field.name for field in row._meta.many_to_many}
    changes = approval.payload["changes"]
    if isinstance(row, User) and changes.get("is_staff") and row.memberships.filter(removed_at=None).exists():
        raise CannotBeDone(_("This person is in an account: remove them there first. Staff are in none."))
    plain = [name for name in changes if name not in many]
    for name in plain:
        setattr(row, name, changes[name])
    row.save(update_fields=plain)
    for name in many & set(changes):
        getattr(row, name).set(changes[name])
    if isinstance(row, User) and "email" in changes:
        # Two members of staff vouch for it.
        addresses.trust(row)
    return row


# --- Members ---------------------------------------------------------------------------------------------------------
def account_of(asked: Payload) -> Model | None:
    """The account that somebody is invited to."""
    return Account.objects.get(pk=asked["account_id"])


def member_of(asked: Payload) -> Model | None:
    """The member whose role is changed."""
    return Member.objects.get(pk=asked["member_id"])


def worth_of_role(asked: Payload, now: datetime) -> Worth:
    """Nothing where the role binds the account to nothing; else no figure says it."""
    return Worth(is_boundless=asked["role"] in MANAGERS)


def change_role(approval: Approval, now: datetime) -> Model:
    """Give a member another role."""
    return members.change_role(member_id=approval.payload["member_id"], role=approval.payload["role"], now=now)


def invite(approval: Approval, now: datetime) -> Model:
    """Send an invitation. Who takes it up proves that the address is theirs."""
    asked = approval.payload
    if User.objects.filter(email__iexact=asked["email"], is_staff=True).exists():
        raise members.StaffMember
    return invitations.send(
        account=Account.objects.get(pk=asked["account_id"]), email=asked["email"], role=asked["role"],
        invited_by=approval.requested_by, now=now,
    )  # fmt: skip


# --- Issuers ---------------------------------------------------------------------------------------------------------
def issuer_of(asked: Payload) -> Model | None:
    """The issuer that is to issue."""
    return Issuer.objects.get(pk=asked["issuer_id"])


def make_default(approval: Approval, now: datetime) -> Model:
    """Let an issuer issue what is sold from now on, with its bank details."""
    issuers.make_default(issuer_id=approval.payload["issuer_id"])
    return Issuer.objects.get(pk=approval.payload["issuer_id"])


# --- API keys --------------------------------------------------------------------------------------------------------
def key_of(asked: Payload) -> Model | None:
    """The key, which has been made and does not work yet."""
    return ApiKey.objects.get(pk=asked["key_id"])


def worth_of_key(asked: Payload, now: datetime) -> Worth:
    """Nothing where it only reads; else no figure says it."""
    key = ApiKey.objects.get(pk=asked["key_id"])
    return Worth(is_boundless=key.scopes != [Scope.READ])


def open_key(approval: Approval, now: datetime) -> Model:
    """Let a key work, and the one that it follows end."""
    try:
        return keys.open_pending(
            key_id=approval.payload["key_id"], overlap_seconds=approval.payload["overlap_seconds"], now=now
        )
    except keys.KeyClosed:
        raise CannotBeDone(_("The key has been revoked, or has expired.")) from None


def revoke_key(approval: Approval, now: datetime) -> None:
    """Let a key that was not approved never work."""
    keys.revoke(key=ApiKey.objects.get(pk=approval.payload["key_id"]), now=now)
