"""Pages and long answers go out compressed; short ones, and pages that show a secret, as they are."""

import gzip
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import get_resolver

from billing.accounts.ids import encode
from billing.accounts.models import Role
from config.compression import LONG_BYTES, SECRET_PAGES, Compression
from tests.factories import make_account, make_key, make_member, make_user

GZIP = {"Accept-Encoding": "gzip, br"}


def encoding(kind: str, length: int) -> str:
    """How an answer of this kind and length goes out."""
    request = RequestFactory().get("/", headers=GZIP)
    answer = Compression(lambda _: HttpResponse("ab " * (length // 3), content_type=kind))(request)
    return str(answer.headers.get("Content-Encoding", ""))


def test_pages_are_compressed_and_of_other_kinds_what_is_long() -> None:
    kinds = ("text/html; charset=utf-8", "application/json", "text/csv", "application/pdf")
    assert [encoding(kind, 3000) for kind in kinds] == ["gzip", "", "", ""]
    assert [encoding(kind, LONG_BYTES + 3) for kind in kinds] == ["gzip", "gzip", "gzip", ""]


@pytest.mark.django_db
def test_a_page_weighs_a_fraction_and_has_another_token_and_length_each_time(client: Client) -> None:
    account = make_account("acme")
    user = make_user()
    make_member(account, user, Role.OWNER)
    client.force_login(user)
    address = f"/a/{encode('acc', account.pk)}"
    plain = client.get(address)
    answers = [client.get(address, headers=GZIP) for _ in range(8)]
    assert "Content-Encoding" not in plain
    assert all(len(answer.content) * 3 < len(gzip.decompress(answer.content)) for answer in answers)
    assert len({len(answer.content) for answer in answers}) > 1
    assert len({gzip.decompress(answer.content) for answer in answers}) == len(answers)


@pytest.mark.django_db
def test_pages_that_show_a_secret_are_not_compressed(client: Client) -> None:
    names = {str(name) for name in _names(get_resolver())}
    shown = {start: sorted(name for name in names if name.startswith(start)) for start in SECRET_PAGES}
    assert all(shown.values()), shown
    account, user = make_account("acme"), make_user()
    make_member(account, user, Role.OWNER)
    client.force_login(user)
    keys = client.get(f"/a/{encode('acc', account.pk)}/api-keys", headers=GZIP)
    assert (keys.status_code, keys.headers.get("Content-Encoding")) == (200, None)
    _, secret = make_key()
    schema = client.get("/api/v1/schema", headers={**GZIP, "Authorization": f"Bearer {secret}"})
    assert schema.headers["Content-Encoding"] == "gzip"


def _names(resolver: Any) -> Any:
    for pattern in resolver.url_patterns:
        if hasattr(pattern, "url_patterns"):
            yield from _names(pattern)
        elif pattern.name:
            yield pattern.name
