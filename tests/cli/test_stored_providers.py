"""What the doctor says of providers that are kept in the database, and of a default model that is not there."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tertulia.app import opened_providers
from tertulia.cli import main
from tertulia.domain.providers import Credentials, ProviderAccount
from tertulia.settings import Settings

OLD, NEW = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="
ACCOUNT = ProviderAccount(
    name="box", provider_type="vllm", base_url="http://127.0.0.1:9", credentials=Credentials(api_key="sk-secret")
)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERTULIA_PORT", "1")
    monkeypatch.setenv("TERTULIA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TERTULIA_SECRET_KEY", OLD)


def doctor() -> Result:
    return CliRunner().invoke(main, ["doctor"])


def store() -> None:
    async def write() -> None:
        async with opened_providers(Settings()) as providers:
            await providers.create(ACCOUNT)

    asyncio.run(write())


def test_a_stored_provider_is_told_and_its_key_is_not() -> None:
    store()
    result = doctor()
    assert result.exit_code == 0, result.output
    assert "vllm at http://127.0.0.1:9, its credentials can be decrypted" in result.output
    assert "sk-secret" not in result.output


def test_one_that_cannot_be_decrypted_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    store()
    monkeypatch.setenv("TERTULIA_SECRET_KEY", NEW)
    monkeypatch.setenv("TERTULIA_DEFAULT_MODEL", "box/m")
    result = doctor()
    assert result.exit_code == 1
    assert "its credentials cannot be decrypted. Another key was used" in result.output
    assert "box/m is not available" in result.output
    monkeypatch.setenv("TERTULIA_SECRET_KEY", f"{NEW},{OLD}")
    assert doctor().exit_code == 0


def test_a_default_model_of_a_stored_provider_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERTULIA_DEFAULT_MODEL", "box/m")
    result = doctor()
    assert "box/m is not available; TERTULIA_DEFAULT_MODEL names another" in result.output
    assert "All good" not in result.output
    assert "1 thing to look at" in result.output
    store()
    assert "All good" in doctor().output


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("too short", "key 1 of 1 is not 32 bytes in base64"),
        (f"{NEW},x", "key 2 of 2 is not 32 bytes in base64"),
        (f"{NEW}, ", None),
        ("a+/a" * 10 + "abc=", None),
    ],
)
def test_a_key_that_is_none_is_told_with_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, keys: str, complaint: str | None
) -> None:
    monkeypatch.setenv("TERTULIA_SECRET_KEY", keys)
    result = doctor()
    if complaint is None:
        assert result.exit_code == 0, result.output
        return
    assert result.exit_code == 2
    assert f"TERTULIA_SECRET_KEY: {complaint}; generate one with: openssl rand -base64 32" in result.output
    assert keys not in result.output
