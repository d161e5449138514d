"""Adding a card on a gateway's own page: begin it, and take the card over once the customer is done there.

Whether the customer comes back, or only the gateway's webhook, the card is added once. Locks: as `methods`; none while
the gateway answers.
"""

from datetime import datetime

from billing.accounts.models import Account
from billing.payments import methods
from billing.payments.gateways import contract, registry
from billing.payments.models import CardSetup, GatewayCustomer

State = CardSetup.State


class SetupRefused(contract.GatewayUnavailable):
    """The gateway's answer is about another customer or another form, which is as good as none; no card was added."""


class SetupNotFound(LookupError):
    """The account has begun no such setup."""


def begin(
    *, account_id: int, key: str, return_url: str, cancel_url: str, make_default: bool, now: datetime
) -> CardSetup:
    """Open a page of the account's gateway where a card is typed; its `url` says where. Once per `key`.

    Must run outside a transaction. Raises methods.TooManyMethods, gateway.NoGateway (or no page), and
    gateway.GatewayUnavailable: then the same key may be tried again.
    """
    contract.refuse_in_transaction()
    account = Account.objects.get(pk=account_id)
    name = registry.choose(account)
    page = registry.card_page(name)
    methods.refuse_too_many(account_id)
    setup, _is_new = CardSetup.objects.get_or_create(
        key=f"{account_id}:{key}",
        defaults={"account": account, "gateway": name, "make_default": make_default, "created_at": now},
    )
    if setup.url:
        return setup
    opened = page.begin_setup(
        key=_gateway_key(setup),
        customer_reference=_customer(account, name, now=now),
        return_url=return_url,
        cancel_url=cancel_url,
    )
    setup.gateway_reference, setup.url = opened.reference, opened.url
    setup.save(update_fields=["gateway_reference", "url"])
    return setup


def _customer(account: Account, name: str, *, now: datetime) -> str:
    """What the gateway calls the account; it is told of it the first time."""
    known = GatewayCustomer.objects.filter(account=account, gateway=name).first()
    if known is not None:
        return known.reference
    reference = registry.card_page(name).make_customer(
        key=f"customer:{account.pk}:{account.created_at.timestamp():.0f}",
        name=account.name,
        email=account.billing_email,
    )
    row, _made = GatewayCustomer.objects.get_or_create(
        account=account, gateway=name, defaults={"reference": reference, "created_at": now}
    )
    return row.reference


def _gateway_key(setup: CardSetup) -> str:
    return f"setup:{setup.key}"


def find(*, account_id: int, key: str) -> CardSetup:
    """A setup of the account. Raises SetupNotFound."""
    setup = CardSetup.objects.filter(key=f"{account_id}:{key}").select_related("method").first()
    if setup is None:
        raise SetupNotFound(key)
    return setup


def finish(*, setup_id: int, now: datetime) -> CardSetup:
    """Ask the gateway how the setup stands, and add the card if there is one. Doing it again adds nothing.

    Must run outside a transaction. Raises SetupRefused, gateway.NoGateway, gateway.GatewayUnavailable.
    """
    contract.refuse_in_transaction()
    setup = CardSetup.objects.select_related("account", "method").get(pk=setup_id)
    if setup.state != State.OPEN or not setup.gateway_reference:
        return setup
    found = registry.card_page(setup.gateway).find_setup(setup.gateway_reference)
    customer = _customer(setup.account, setup.gateway, now=now)
    if (found.key, found.customer_reference) != (_gateway_key(setup), customer):
        raise SetupRefused(
            f"{setup.gateway_reference} is {found.key or 'without a key'} of {found.customer_reference or 'nobody'},"
            f" not {_gateway_key(setup)} of {customer}"
        )
    if found.card is not None:
        setup.method = methods.keep(
            account_id=setup.account_id,
            gateway_name=setup.gateway,
            card=found.card,
            customer_reference=customer,
            make_default=setup.make_default,
            now=now,
        )
        setup.state, setup.finished_at = State.DONE, now
    elif found.is_over:
        setup.state, setup.finished_at = State.EXPIRED, now
    setup.save(update_fields=["state", "method", "finished_at"])
    return setup


def follow(*, gateway_name: str, reference: str, now: datetime) -> CardSetup | None:
    """`finish` the setup that the gateway reports on; None when it is none of ours."""
    setup = CardSetup.objects.filter(gateway=gateway_name, gateway_reference=reference).first()
    return None if setup is None else finish(setup_id=setup.pk, now=now)
