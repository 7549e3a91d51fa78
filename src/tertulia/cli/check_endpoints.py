"""Checks of the model servers: which are configured, answer, and accept the key."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

from tertulia.cli.findings import Finding
from tertulia.providers.provider_types import BY_PREFIX
from tertulia.settings import HANDLE_PREFIXES, Endpoint, EndpointKind, Settings, variable_in_use

_TIMEOUT: Final = 3.0
_UNAUTHORIZED: Final = (401, 403)
_NOT_FOUND: Final = 404
_MESSAGES_API_VERSION: Final = "2023-06-01"

# The setting to name where a kind is not configured; the kinds without one are listed under TERTULIA_ENDPOINTS.
_FIELDS: Final[dict[EndpointKind, str]] = {
    "openai": "openai_api_key",
    "ollama": "ollama_base_url",
    "vllm": "vllm_api_base",
    "lmstudio": "lmstudio_base_url",
    "llamacpp": "llamacpp_base_url",
    "anthropic": "anthropic_api_key",
    "moonshot_coding": "moonshot_coding_api_key",
}


def check_endpoints(settings: Settings) -> list[Finding]:
    """One finding for each endpoint, all asked at the same time, and one for each that is not configured."""
    endpoints = settings.providers.endpoints
    configured = {endpoint.kind for endpoint in endpoints}
    with ThreadPoolExecutor(max_workers=len(endpoints) or 1) as pool:
        answers = list(pool.map(_endpoint, endpoints))
    return [*answers, *(_not_configured(kind) for kind in HANDLE_PREFIXES if kind not in configured)]


def _not_configured(kind: EndpointKind) -> Finding:
    return Finding("off", HANDLE_PREFIXES[kind], f"not configured ({variable_in_use(_FIELDS[kind])})")


def _endpoint(endpoint: Endpoint) -> Finding:
    """Ask the endpoint for its models, which costs nothing and needs the key."""
    headers = {"Accept": "application/json"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    if _speaks_messages(endpoint):
        headers["anthropic-version"] = _MESSAGES_API_VERSION
        headers["x-api-key"] = endpoint.api_key or "none"
    # The settings let no other scheme than http and https through.
    request = urllib.request.Request(_models_address(endpoint), headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as reply:  # noqa: S310
            body: Any = json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return Finding("fail", endpoint.name, _refusal(endpoint, error.code))
    except urllib.error.URLError as error:
        return Finding("fail", endpoint.name, f"{endpoint.base_url} cannot be reached: {error.reason}")
    except TimeoutError:
        return Finding("fail", endpoint.name, f"{endpoint.base_url} did not answer within {_TIMEOUT:.0f} s")
    except (OSError, ValueError) as error:
        return Finding("fail", endpoint.name, f"{endpoint.base_url} does not speak the {_dialect(endpoint)}: {error}")
    return _offer(endpoint, body)


def _speaks_messages(endpoint: Endpoint) -> bool:
    return endpoint.kind != "compatible" and BY_PREFIX[endpoint.name].dialect == "anthropic"


def _dialect(endpoint: Endpoint) -> str:
    return "Messages dialect" if _speaks_messages(endpoint) else "OpenAI dialect"


def _models_address(endpoint: Endpoint) -> str:
    return f"{endpoint.base_url}/v1/models" if _speaks_messages(endpoint) else f"{endpoint.base_url}/models"


def _refusal(endpoint: Endpoint, status: int) -> str:
    if status in _UNAUTHORIZED:
        wrong = "refuses the key" if endpoint.api_key else "wants a key and none is set"
        return f"{endpoint.base_url} answers, but {wrong} (HTTP {status}); set {_key_variable(endpoint)}"
    if status == _NOT_FOUND:
        usual = "ends before /v1" if _speaks_messages(endpoint) else "usually ends in /v1"
        return f"{_models_address(endpoint)} is not there (HTTP 404); the address {usual}"
    return f"{endpoint.base_url} answers with HTTP {status}"


def _key_variable(endpoint: Endpoint) -> str:
    field = _FIELDS.get(endpoint.kind, "")
    if field.endswith("api_key"):
        return variable_in_use(field)
    return f"api_key of {endpoint.name} in TERTULIA_ENDPOINTS"


def _offer(endpoint: Endpoint, body: Any) -> Finding:
    listed = cast("dict[str, Any]", body).get("data") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        text = f"{endpoint.base_url} answers, but lists no models; does it speak the {_dialect(endpoint)}?"
        return Finding("fail", endpoint.name, text)
    offered = [str(cast("dict[str, Any]", model).get("id")) for model in cast("list[Any]", listed) if model]
    missing = sorted(set(endpoint.models or ()) - set(offered))
    if missing:
        text = f"{endpoint.base_url} answers, but does not list {', '.join(missing)}"
        return Finding("warn", endpoint.name, text)
    key = "key accepted" if endpoint.api_key else "no key"
    return Finding("ok", endpoint.name, f"{endpoint.base_url} answers, {key}, {_some(offered)}")


def _some(models: Sequence[str]) -> str:
    shown = 3
    if not models:
        return "no models yet"
    rest = f" and {len(models) - shown} more" if len(models) > shown else ""
    return f"{', '.join(models[:shown])}{rest}"
