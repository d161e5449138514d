"""What the README shows of the API, word for word, against what the demo sells."""

import json
import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from billing.demo.catalog import make_catalog, make_issuer
from billing.demo.plans import make_plans
from billing.invoicing.models import Invoice
from billing.metering.models import UsageEvent
from billing.subscriptions.models import Subscription
from tests.api.asking import Api

pytestmark = pytest.mark.smoke


def commands() -> list[tuple[str, bytes | None, str | None]]:
    """The path, the body and the Idempotency-Key of each curl command of the chapter."""
    text = (Path(settings.BASE_DIR) / "README.md").read_text()
    chapter = text.split("## Integrate in five minutes")[1].split("\n## ")[0]
    found = []
    for command in re.findall(r"^curl (?:[^\n]*\\\n|[^\n']*'[^']*'|[^\n'])+", chapter, re.MULTILINE):
        words = shlex.split(command.replace("\\\n", " "), comments=True)
        (address,) = [word for word in words if word.startswith("$API")]
        body = words[words.index("-d") + 1].encode() if "-d" in words else None
        key = next((word.partition(": ")[2] for word in words if word.startswith("Idempotency-Key")), None)
        found.append((address.removeprefix("$API"), body, key))
    return found


@pytest.fixture
def demo_shop(db: None) -> None:
    """What the demo sells, on sale for a day."""
    now = timezone.now() - timedelta(days=1)
    make_catalog(now=now)
    make_issuer(on=now.date())
    make_plans(now=now)


def test_the_chapter_on_integrating_works_as_it_stands(platform: Api, demo_shop: None) -> None:
    asked = commands()
    assert len(asked) == 11
    for path, body, key in asked:
        if body is None:
            answer = platform.client.get(f"/api/v1{path}", headers=platform.headers)
        else:
            json.loads(body)
            answer = platform.send("POST", path, body, headers={"Idempotency-Key": key} if key else None)
        assert answer.status_code in (200, 201), (path, answer.content)
        assert answer.json().get("rejected", 0) == 0, answer.content
    assert (UsageEvent.objects.count(), Invoice.objects.get().state) == (2, "paid")
    assert Subscription.objects.get().plan_version.plan.key == "team"
