"""Staff play the other side in the sandbox: they dispute a charge, and decide the dispute."""

import pytest
from django.test import Client

from billing.accounts.models import StaffAct
from billing.payments.sandbox_models import SandboxCharge, SandboxEvent
from tests.admin.conftest import Office, post, text_of
from tests.admin.test_approvals import _staff
from tests.factories import make_issuer
from tests.invoicing.makers import issue
from tests.payments.makers import pay

B = "/admin/billing/sandboxcharge"


@pytest.fixture
def charge(office: Office) -> SandboxCharge:
    make_issuer()
    pay(issue(office.account, now=office.now), now=office.now)
    return SandboxCharge.objects.get()


def test_a_charge_is_disputed_and_the_dispute_decided(staff: Client, charge: SandboxCharge) -> None:
    assert f"{B}/{charge.pk}/dispute/" in text_of(staff, f"{B}/{charge.pk}/change/")
    assert "Dispute this charge as the payer?" in text_of(staff, f"{B}/{charge.pk}/dispute/")
    assert "The webhook comes within seconds." in post(staff, f"{B}/{charge.pk}/dispute/")
    page = text_of(staff, f"{B}/{charge.pk}/change/")
    assert f"{B}/{charge.pk}/lose/" in page
    assert f"{B}/{charge.pk}/dispute/" not in page
    assert "The webhook comes within seconds." in post(staff, f"{B}/{charge.pk}/lose/")
    assert "does not allow this any more" in post(staff, f"{B}/{charge.pk}/win/")
    kinds = set(SandboxEvent.objects.values_list("kind", flat=True))
    assert {"dispute.open", "dispute.lost"} <= kinds
    assert list(StaffAct.objects.order_by("pk").values_list("act", flat=True)) == ["dispute", "lose", "refused"]


def test_only_those_who_may_change_payments_play_and_only_while_the_sandbox_is_in_use(
    client: Client, staff: Client, charge: SandboxCharge, settings: object
) -> None:
    client.force_login(_staff("sam", "view_sandboxcharge"))
    assert "/dispute/" not in text_of(client, f"{B}/{charge.pk}/change/")
    for page in ("dispute", "lose", "win"):
        assert client.post(f"{B}/{charge.pk}/{page}/").status_code == 403
    client.force_login(_staff("fay", "change_payment"))
    assert client.get(f"{B}/999999/dispute/").status_code == 404
    settings.FLORIN_GATEWAY = ""  # type: ignore[attr-defined]
    assert client.post(f"{B}/{charge.pk}/dispute/").status_code == 403
    assert not SandboxCharge.objects.exclude(dispute_state="").exists()
