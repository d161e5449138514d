import pytest
from django.utils import timezone

from billing import tasks
from billing.purchases.models import TopUp
from tests.payments.makers import make_card
from tests.purchases.makers import make_rule


@pytest.mark.django_db
def test_pools_that_have_run_low_are_topped_up_by_the_job(pool, pack):
    now = timezone.now()
    make_card(pool.account, now=now)
    make_rule(pool, pack, now=now)
    tasks.run_top_ups()
    assert TopUp.objects.get().state == "succeeded"
