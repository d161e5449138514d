"""Which currencies anything is sold in. Reads only."""

from billing.catalog import plans
from billing.catalog.pack_models import Pack


def list_sold() -> list[str]:
    """The currencies, by code, in which there is a pack or a plan on sale to everyone."""
    packs = Pack.objects.filter(is_active=True, target_segments=[]).values_list("currency", flat=True)
    on_sale = plans.versions_on_sale().filter(target_segments=[])
    return sorted({*packs, *on_sale.exclude(prices=None).values_list("prices__currency", flat=True)})
