"""Automatic top-up of a pool: its rule, how it stands, and what it bought."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from billing.catalog import pricing
from billing.invoicing import tax
from billing.ledger.models import CreditPool
from billing.payments import methods
from billing.purchases import offers, topups
from billing.purchases.models import TopUp, TopUpRule
from billing.wording import amounts
from portal.access import Visit, account_page, require_manager
from portal.frame import choose_pool, pool_links, render_page
from portal.money.forms import TopUpForm, amounts_in_words, plain

HISTORY = 20


@require_http_methods(["GET", "HEAD", "POST"])
@account_page
def top_ups(request: HttpRequest, visit: Visit) -> HttpResponse:
    """A pool's rule, how it stands and what it bought; on POST save it and switch it on, or switch it off."""
    require_manager(visit)
    now = visit.now
    pools = _list_pools(visit)
    pool = choose_pool(pools, request.GET.get("pool", ""))
    rule: TopUpRule | None = getattr(pool, "top_up_rule", None)
    on_sale = offers.list_offers(account=visit.account)
    here = visit.url("top_ups") + (f"?pool={pool.key}" if len(pools) > 1 else "")
    if request.method == "POST" and request.POST.get("act") == "off":
        _switch_off(request, visit, pool, now=now)
        return redirect(here)
    form = TopUpForm(
        request.POST or None,
        packs=[(offer.pack_id, offer.name) for offer in on_sale],
        methods=methods.list_methods(visit.account.pk),
        currency=visit.account.currency,
        initial=_initial(rule, on_sale),
    )
    if request.method == "POST" and form.is_valid() and _save(form, visit, pool, now=now):
        messages.success(request, _("Automatic top-up of %(pool)s is on.") % {"pool": pool.name})
        return redirect(here)
    context: dict[str, Any] = {
        "form": form,
        "pool": pool,
        "pools": pool_links(visit, "top_ups", pools, pool),
        "rule": rule,
        "state": _state(rule, now=now),
        "offer": next((offer for offer in on_sale if rule and offer.pack_id == rule.pack_id), None),
        "on_sale": on_sale,
        "month": _sum_up_month(rule, now=now),
        "history": _list_history(rule),
        "here": here,
    }
    return render_page(request, visit, "top_ups", context, status=422 if form.errors else 200)


def _list_pools(visit: Visit) -> list[CreditPool]:
    """The account's pools with their rules, the main one first; one query."""
    pools = CreditPool.objects.filter(account=visit.account).select_related(
        "top_up_rule__pack", "top_up_rule__method", "top_up_rule__failed_method"
    )
    return sorted(pools, key=lambda pool: (pool.kind != CreditPool.Kind.MAIN, pool.name, pool.pk))


def _state(rule: TopUpRule | None, *, now: datetime) -> str:
    """`none`, `off`, `switched_off` (by itself), `capped` (until the month ends), `waiting` (after a decline), `on`."""
    if rule is None:
        return "none"
    if not rule.is_active:
        return "switched_off" if rule.switched_off_at else "off"
    if rule.capped_until and now < rule.capped_until:
        return "capped"
    return "waiting" if rule.waits_until and now < rule.waits_until else "on"


def _initial(rule: TopUpRule | None, on_sale: list[offers.Offer]) -> dict[str, Any]:
    """What the form begins with: the rule, or the smallest amount of the first pack, a few times a month."""
    if rule is not None:
        return {
            "threshold": plain(rule.threshold),
            "pack": rule.pack_id,
            "credits": plain(rule.credits),
            "method": rule.method_id or "",
            "max_count": rule.max_count,
            "max_money": pricing.round_money(rule.max_money, rule.pack.currency),
        }
    if not on_sale:
        return {}
    first = on_sale[0]
    return {"pack": first.pack_id, "credits": plain(first.min_credits), "max_count": 3}


def _save(form: TopUpForm, visit: Visit, pool: CreditPool, *, now: datetime) -> bool:
    """Save what a valid form says; False when it cannot be, and the form says why."""
    typed = form.cleaned_data
    try:
        topups.save_rule(
            account=visit.account,
            pool_id=pool.pk,
            threshold=typed["threshold"],
            pack_id=typed["pack"],
            credits=typed["credits"],
            method_id=typed["method"],
            max_count=typed["max_count"],
            max_money=typed["max_money"],
            now=now,
        )
    except offers.AmountNotOffered as error:
        form.add_error("credits", amounts_in_words(error.minimum, error.maximum, error.step))
    except offers.PackNotForSale:
        form.add_error("pack", _("This pack is not sold any more."))
    except methods.MethodNotUsable:
        form.add_error("method", _("There is no such card. Add one under payment methods first."))
    except tax.TaxUnavailable:
        form.add_error(None, _("The tax on this cannot be worked out at the moment. Nothing was saved."))
    except topups.ThresholdTooHigh as error:
        credits = amounts.credits_text(error.credits)
        form.add_error(
            "threshold", _("Choose less than the %(credits)s credits that one top-up brings.") % {"credits": credits}
        )
    except topups.CapTooLow as error:
        price = amounts.money_text(error.total, error.currency)
        form.add_error(
            "max_money", _("One top-up costs %(price)s, tax included. Choose at least that.") % {"price": price}
        )
    else:
        return True
    return False


def _switch_off(request: HttpRequest, visit: Visit, pool: CreditPool, *, now: datetime) -> None:
    try:
        topups.switch_off(account_id=visit.account.pk, pool_id=pool.pk, now=now)
    except topups.RuleNotFound:
        return
    messages.success(request, _("Automatic top-up of %(pool)s is off.") % {"pool": pool.name})


def _list_history(rule: TopUpRule | None) -> list[TopUp]:
    if rule is None:
        return []
    return list(rule.top_ups.select_related("invoice").order_by("-pk")[:HISTORY])


def _sum_up_month(rule: TopUpRule | None, *, now: datetime) -> dict[str, Any]:
    """What counts towards the caps of the month that the page is read in: how many, and how much money."""
    if rule is None:
        return {}
    month = timezone.localdate(now).replace(day=1)
    counted = rule.top_ups.filter(~Q(state=TopUp.State.FAILED), month=month)
    sums = counted.aggregate(count=Count("pk"), money=Sum("invoice__total"))
    return {"count": sums["count"], "money": sums["money"] or Decimal(0)}
