"""Whatever the order in which readings arrive, and however often the job runs, a gauge is charged its integral."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.catalog.pricing import units_of
from billing.metering import gauges
from billing.metering.levels import Step, integral
from billing.metering.models import DailyUsage, GaugeSeries, UsageEvent
from tests.factories import make_meter
from tests.metering.makers import DAY, HOUR, NOW, START, event, publish, rate, send

READING = st.tuples(
    st.integers(0, 50 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes)),
    st.decimals(min_value=0, max_value=1000, places=3),
    st.integers(0, 30 * 24).map(lambda hours: hours * HOUR),
)


@pytest.mark.django_db
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    readings=st.lists(READING, min_size=1, max_size=8, unique_by=lambda reading: reading[0]),
    pauses=st.lists(st.integers(24, 20 * 24), min_size=1, max_size=6),
)
def test_any_gauge_is_charged_its_integral(acme, readings, pauses):
    """Readings (when, level, how late they arrive) and runs of the job interleave; then no level is left."""
    with transaction.atomic():
        meter = make_meter("storage", kind="gauge", now=START)
        publish(rate(meter, "0.001"))
        arrivals = sorted((at + delay, at, number) for number, (at, _, delay) in enumerate(readings))
        runs, moment = [], NOW
        while moment < NOW + 90 * DAY:
            moment += pauses[len(runs) % len(pauses)] * HOUR
            runs.append(moment)
        acts = sorted([(when, 0, number) for when, _, number in arrivals] + [(when, 1, 0) for when in runs])
        for when, is_run, number in acts:
            if is_run:
                gauges.accrue_due(now=when, limit=10)
            else:
                at, quantity, _ = readings[number]
                send(event(quantity, id=f"r{number}", at=at, meter="storage"), now=when)
        end = NOW + 200 * DAY
        send(event(1000, id="last", at=end - 100 * DAY, meter="storage"), now=end - 90 * DAY)
        gauges.accrue_due(now=end + gauges.LAG, limit=10)
        steps = sorted((Step(at, quantity) for at, quantity, _ in readings), key=lambda step: step.at)
        expected = units_of(integral([*steps, Step(end - 100 * DAY, Decimal(1000))], until=end), 3600)
        charged = GaugeSeries.objects.get().charged_quantity
        counted = sum(UsageEvent.objects.values_list("counted", flat=True))
        days = sum(DailyUsage.objects.values_list("quantity", flat=True))
        assert charged == counted == days == expected
        transaction.set_rollback(True)
