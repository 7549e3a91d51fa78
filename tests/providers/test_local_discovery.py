import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tertulia.domain.errors import InvalidArgument
from tertulia.provider_settings import LocalModels
from tertulia.providers.local import LocalProvider, discovery, provider
from tertulia.providers.local.discovery import find_models
from tertulia.providers.local.gguf import NotGguf, read_facts


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _pair(key: str, value: str | int | list[str] | list[int]) -> bytes:
    if isinstance(value, str):
        return _text(key) + struct.pack("<I", 8) + _text(value)
    if isinstance(value, int):
        return _text(key) + struct.pack("<II", 4, value)
    words = [_text(item) if isinstance(item, str) else struct.pack("<I", item) for item in value]
    kind = 8 if isinstance(value[0], str) else 4
    return _text(key) + struct.pack("<IIQ", 9, kind, len(value)) + b"".join(words)


def _gguf(**changes: Any) -> bytes:
    """The head of a model of 20 million parameters; ``__`` in a name stands for a dot."""
    pairs: dict[str, Any] = {
        "general__architecture": "llama",
        "general__name": "Tiny Test",
        "general__tags": ["one", "two"],
        "llama__context_length": 2048,
        "llama__block_count": 10,
        "llama__embedding_length": 256,
        "llama__feed_forward_length": 1024,
        "llama__attention__head_count": 8,
        "llama__attention__head_count_kv": 4,
        "llama__levels": [1, 2, 3],
        "tokenizer__ggml__tokens": ["a", "b"] * 1000,
        **changes,
    }
    pairs = {key: value for key, value in pairs.items() if value is not None}
    body = b"".join(_pair(key.replace("__", "."), value) for key, value in pairs.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + body


@pytest.fixture(autouse=True)
def runtime_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime is there and the embedded weights are not, whatever is installed."""
    monkeypatch.setattr(provider, "runtime_installed", lambda: True)
    monkeypatch.setattr(discovery, "embedded_weights", lambda: None)


def _provider(directory: Path | None, context: int | None = None) -> LocalProvider:
    return LocalProvider(LocalModels(directory=directory, context=context))


def test_a_files_head_tells_name_context_and_size(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(_gguf())
    facts = read_facts(path)
    assert (facts.architecture, facts.display_name, facts.context_length) == ("llama", "Tiny Test", 2048)
    assert facts.parameters == 2000 * 256 + 10 * (3 * 256 * 256 + 3 * 256 * 1024)


def test_what_a_file_does_not_tell_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "terse.gguf"
    path.write_bytes(_gguf(general__name=None, llama__context_length=None, llama__feed_forward_length=None))
    facts = read_facts(path)
    assert (facts.display_name, facts.context_length, facts.parameters) == (None, None, None)


@settings(deadline=None)
@given(cut=st.integers(min_value=0, max_value=300))
def test_a_file_that_is_cut_off_is_told_from_a_model(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "cut.gguf"
    path.write_bytes(_gguf()[:cut])
    with pytest.raises(NotGguf, match="cut"):
        read_facts(path)


@settings(deadline=None)
@given(junk=st.binary(max_size=200))
def test_no_bytes_whatever_are_mistaken_for_a_model(junk: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("junk") / "junk.gguf"
    path.write_bytes(b"GGUF\x03\x00\x00\x00" + junk)
    with pytest.raises(NotGguf):
        read_facts(path)


def test_every_gguf_file_of_the_directory_is_a_model_named_after_it(tmp_path: Path) -> None:
    for name in ("b.gguf", "a-Q4_0.GGUF", "notes.txt"):
        (tmp_path / name).write_bytes(_gguf())
    assert list(find_models(tmp_path)) == ["a-Q4_0", "b"]


def test_parts_of_a_split_model_are_one_and_a_projector_is_none(tmp_path: Path) -> None:
    for name in ("big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "mmproj-big.gguf"):
        (tmp_path / name).write_bytes(_gguf())
    assert list(find_models(tmp_path)) == ["big"]


def test_a_file_that_is_no_model_is_left_out_and_logged_once(tmp_path: Path) -> None:
    (tmp_path / "good.gguf").write_bytes(_gguf())
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    with capture_logs() as logs:
        assert list(find_models(tmp_path)) == ["good"]
        assert list(find_models(tmp_path)) == ["good"]
    assert [entry["event"] for entry in logs] == ["local_model.unreadable"]


def test_a_file_that_is_put_there_later_is_found(tmp_path: Path) -> None:
    assert find_models(tmp_path) == {}
    (tmp_path / "late.gguf").write_bytes(_gguf())
    assert list(find_models(tmp_path)) == ["late"]


async def test_a_model_is_listed_with_its_handle_and_the_context_it_was_trained_with(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(_gguf())
    (card,) = await _provider(tmp_path).models()
    assert (card.handle, card.name, card.provider_name) == ("local/tiny", "tiny", "local")
    assert (card.provider_type, card.endpoint_type, card.compatibility_type) == ("openai", "llamacpp", "gguf")
    assert (card.context_window, card.display_name, card.endpoint) == (2048, "Tiny Test", None)


@pytest.mark.parametrize(
    ("trained", "configured", "listed"),
    [(131072, None, 8192), (131072, 32768, 32768), (2048, 32768, 2048), (2048, 1024, 1024), (None, None, 8192)],
)
def test_the_context_window_is_bounded_by_training_and_by_choice(
    tmp_path: Path, trained: int | None, configured: int | None, listed: int
) -> None:
    (tmp_path / "tiny.gguf").write_bytes(_gguf(llama__context_length=trained))
    assert _provider(tmp_path, configured).card("tiny").context_window == listed


def test_only_models_of_some_size_are_trusted_with_summaries(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(_gguf())
    (tmp_path / "grown.gguf").write_bytes(_gguf(llama__embedding_length=2048, llama__feed_forward_length=8192))
    local = _provider(tmp_path)
    assert not local.card("tiny").can_summarize
    assert local.card("grown").can_summarize


def test_a_name_without_a_file_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(_gguf())
    with pytest.raises(InvalidArgument, match=r"'huge'.*tiny.*TERTULIA_MODELS_DIR"):
        _provider(tmp_path).card("huge")


async def test_without_the_runtime_no_model_is_offered_and_the_refusal_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.gguf").write_bytes(_gguf())
    monkeypatch.setattr(provider, "runtime_installed", lambda: False)
    assert await _provider(tmp_path).models() == []
    with pytest.raises(InvalidArgument, match=r"tertulia\[local\]"):
        _provider(tmp_path).card("tiny")


async def test_a_provider_that_was_never_asked_closes(tmp_path: Path) -> None:
    await _provider(tmp_path).close()
