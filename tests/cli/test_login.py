"""`tertulia login chatgpt`: with a server that runs, with none, and what keeps it from being done."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from tertulia.cli import main
from tests.cli.server import serving
from tests.support.chatgpt_auth import ChatGPTAuth
from tests.support.plain_server import answering

pytestmark = pytest.mark.slow

KEY = "the-servers-key"


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatGPTAuth]:
    with ChatGPTAuth() as opened:
        monkeypatch.setenv("CHATGPT_AUTH_BASE_URL", opened.url)
        opened.confirmed.set()
        yield opened


@pytest.fixture
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERTULIA_PORT", "1")
    monkeypatch.setenv("TERTULIA_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def stored(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{url}/v1/providers/", headers={"authorization": f"Bearer {KEY}"}).json()
    return found


def test_a_server_that_runs_has_the_account_at_once(
    auth: ChatGPTAuth, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(data_dir, TERTULIA_API_KEY=KEY) as (_, url):
        refused = run("login", "chatgpt", "--url", url)
        assert (refused.exit_code, "set TERTULIA_API_KEY" in refused.output) == (2, True)
        monkeypatch.setenv("TERTULIA_API_KEY", KEY)
        result = run("login", "chatgpt", "--url", url)
        assert result.exit_code == 0, result.output
        assert f"Open {auth.url}/codex/device and enter the code ABCD-1234" in result.output
        assert "Signed in as ann@example.org (plus)" in result.output
        assert "secret" not in result.output
        (provider,) = stored(url)
        assert (provider["name"], provider["provider_type"]) == ("chatgpt_oauth", "chatgpt_oauth")
        assert run("login", "chatgpt", "--url", url).exit_code == 0  # again, in place of the first
        assert [one["id"] for one in stored(url)] == [provider["id"]]
        assert "has been removed" in run("logout", "chatgpt", "--url", url).output
        assert stored(url) == []
        assert "No ChatGPT account" in run("logout", "chatgpt", "--url", url).output


@pytest.mark.usefixtures("auth")
def test_without_a_server_the_account_is_kept_for_the_next_one(data_dir: Path) -> None:
    for _ in range(2):
        result = run("login", "chatgpt")
        assert result.exit_code == 0, result.output
        assert "once the server is started" in result.output
    assert all(b"refresh-secret" not in path.read_bytes() for path in data_dir.iterdir())
    assert run("doctor").output.count("chatgpt_oauth, its credentials can be decrypted") == 1
    assert "has been removed" in run("logout", "chatgpt").output
    assert "No ChatGPT account" in run("logout", "chatgpt").output


def test_a_server_elsewhere_that_holds_the_data_directory_is_named(auth: ChatGPTAuth, data_dir: Path) -> None:
    auth.confirmed.clear()
    results: list[Result] = []
    signing_in = threading.Thread(target=lambda: results.append(run("login", "chatgpt")))
    signing_in.start()
    assert auth.polled.wait(30)
    with serving(data_dir) as (process, _):  # started while the user is at the browser
        auth.confirmed.set()
        signing_in.join(30)
        results.append(run("login", "chatgpt"))
    for result in results:
        assert result.exit_code == 2
        assert f"a server (pid {process.pid}) uses the data directory and does not answer at" in result.output
    assert "enter the code" not in results[1].output


@pytest.mark.usefixtures("auth", "data_dir")
def test_nothing_is_asked_of_the_user_where_it_could_not_be_kept() -> None:
    assert "no server answers at http://127.0.0.1:1" in run("login", "chatgpt", "--url", "http://127.0.0.1:1").output
    with answering(200, "hello") as url:
        result = run("login", "chatgpt", "--url", url)
    assert (result.exit_code, "other than Tertulia" in result.output) == (2, True)
    assert "enter the code" not in result.output


@pytest.mark.usefixtures("data_dir")
def test_a_sign_in_service_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATGPT_AUTH_BASE_URL", "http://127.0.0.1:1")
    result = run("login", "chatgpt")
    assert result.exit_code == 2
    assert "http://127.0.0.1:1" in result.output
