"""Settings from environment variables: what is read, and what an error says."""

import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import environment
from config.secret import demo_secret_key


def test_a_database_url_is_read_with_its_escapes_and_options(monkeypatch):
    monkeypatch.setenv("URL", "postgresql://a%40b:p%2Fw@db.example:5433/flo%20rin?sslmode=require")
    assert environment.database("URL") == {
        "NAME": "flo rin",
        "USER": "a@b",
        "PASSWORD": "p/w",
        "HOST": "db.example",
        "PORT": "5433",
        "OPTIONS": {"sslmode": "require"},
    }


def test_a_socket_folder_is_read_as_the_host(monkeypatch):
    monkeypatch.setenv("URL", "postgresql://florin@/florin?host=%2Frun%2Fpg")
    read = environment.database("URL")
    assert (read["HOST"], read["OPTIONS"]) == ("/run/pg", {})


@pytest.mark.parametrize("url", ["mysql://u:hidden@h/d", "postgresql://u:hidden@h", "postgresql://u:hidden@h:port/d"])
def test_a_wrong_database_url_is_explained_without_its_password(monkeypatch, url):
    monkeypatch.setenv("URL", url)
    with pytest.raises(ImproperlyConfigured, match="URL must look like postgresql://") as error:
        environment.database("URL")
    assert "hidden" not in str(error.value)


def test_an_unset_variable_is_the_default(monkeypatch):
    monkeypatch.delenv("NAME", raising=False)
    assert environment.database("NAME") is None
    assert environment.flag("NAME", default=True) is True
    assert environment.number("NAME", 5) == 5
    assert environment.words("NAME", ["a"]) == ["a"]


@pytest.mark.parametrize(("value", "read"), [("true", True), ("1", True), ("Off", False), ("no", False)])
def test_a_flag_is_read(monkeypatch, value, read):
    monkeypatch.setenv("NAME", value)
    assert environment.flag("NAME") is read


def test_a_doubtful_flag_is_an_error(monkeypatch):
    monkeypatch.setenv("NAME", "maybe")
    with pytest.raises(ImproperlyConfigured, match="NAME must be true or false, not 'maybe'"):
        environment.flag("NAME")


@pytest.mark.parametrize("value", ["-1", "1.5", "ten", "1_000", "\uff11", "0"])
def test_a_wrong_number_is_an_error(monkeypatch, value):
    monkeypatch.setenv("NAME", value)
    with pytest.raises(ImproperlyConfigured, match="NAME must be a whole number of at least 1"):
        environment.number("NAME", 5, minimum=1)


def test_mail_goes_to_files_when_no_server_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("EMAIL_URL", raising=False)
    assert environment.email("EMAIL_URL", tmp_path)["EMAIL_FILE_PATH"] == str(tmp_path)


def test_a_mail_server_is_read(monkeypatch, tmp_path):
    monkeypatch.setenv("EMAIL_URL", "smtp+tls://me%40x.org:pw@mail.x.org")
    read = environment.email("EMAIL_URL", tmp_path)
    assert (read["EMAIL_HOST"], read["EMAIL_PORT"], read["EMAIL_USE_TLS"]) == ("mail.x.org", 587, True)
    assert read["EMAIL_HOST_USER"] == "me@x.org"


def test_a_wrong_mail_server_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("EMAIL_URL", "mail.x.org")
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL must look like"):
        environment.email("EMAIL_URL", tmp_path)


def test_the_demos_secret_key_is_random_private_and_stays(tmp_path: Path):
    first = demo_secret_key(tmp_path / "a")
    assert demo_secret_key(tmp_path / "a") == first
    assert demo_secret_key(tmp_path / "b") != first
    assert len(first) > 50
    assert stat.S_IMODE((tmp_path / "a/secret-key").stat().st_mode) == 0o600


def test_pairs_are_read(monkeypatch):
    monkeypatch.setenv("NAME", "EUR=stripe, *=sandbox")
    assert environment.pairs("NAME") == {"EUR": "stripe", "*": "sandbox"}


@pytest.mark.parametrize("value", ["EUR", "EUR=", "=stripe"])
def test_half_a_pair_is_an_error(monkeypatch, value):
    monkeypatch.setenv("NAME", value)
    with pytest.raises(ImproperlyConfigured, match="NAME must look like"):
        environment.pairs("NAME")
