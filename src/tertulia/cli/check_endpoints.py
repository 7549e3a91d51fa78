"""Checks of the model servers: which are configured, answer, and accept the key."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tertulia.cli.findings import Finding
from tertulia.domain.addresses import without_login
from tertulia.domain.errors import ProviderError
from tertulia.domain.provider_types import PROVIDER_TYPES, ProviderType
from tertulia.provider_settings import Endpoint, ProviderSettings
from tertulia.providers.adapters import make_adapter
from tertulia.providers.catalogue import endpoint_config
from tertulia.settings import Settings

_TIMEOUT: Final = 3.0


def check_endpoints(settings: Settings) -> list[Finding]:
    """One finding for each endpoint, all asked at the same time, and one for each type that is not configured."""
    providers = settings.providers
    configured = {endpoint.name for endpoint in providers.endpoints}
    return [
        *asyncio.run(_answers(providers)),
        *(_not_configured(row) for row in PROVIDER_TYPES if row.name not in configured),
    ]


def _not_configured(row: ProviderType) -> Finding:
    return Finding("off", row.name, f"not configured ({row.login or ', '.join(row.needs)})")


async def _answers(settings: ProviderSettings) -> list[Finding]:
    return await asyncio.gather(*(_asked(endpoint, settings) for endpoint in settings.endpoints))


async def _asked(endpoint: Endpoint, settings: ProviderSettings) -> Finding:
    """Ask the endpoint for its models, which costs nothing and needs the key."""
    config = replace(endpoint_config(endpoint, settings), connect_timeout=_TIMEOUT, list_timeout=_TIMEOUT, retries=0)
    adapter = make_adapter(config)
    where = without_login(endpoint.base_url) or "its own address"
    try:
        offered = [row.id for row in await adapter.list_models()]
    except ProviderError as error:
        said = "" if error.detail in error.message else f" ({error.detail[:200]})"
        return Finding("fail", endpoint.name, f"{where}: {error.message}{said}")
    finally:
        await adapter.close()
    missing = sorted(set(endpoint.models or ()) - set(offered))
    if missing:
        return Finding("warn", endpoint.name, f"{where} answers, but does not list {', '.join(missing)}")
    key = "key accepted" if endpoint.has_credentials else "no key"
    return Finding("ok", endpoint.name, f"{where} answers, {key}, {_some(offered)}")


def _some(models: Sequence[str]) -> str:
    shown = 3
    if not models:
        return "no models yet"
    rest = f" and {len(models) - shown} more" if len(models) > shown else ""
    return f"{', '.join(models[:shown])}{rest}"
