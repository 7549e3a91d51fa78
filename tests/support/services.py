"""The services over a store and a catalogue, with nothing configured but what a test says."""

import secrets
from functools import cache
from typing import Any

from tertulia.api.deps import ApiSettings, Services
from tertulia.app import Parts, build_services
from tertulia.engine.lifecycle.settings import RunSettings
from tertulia.engine.stored_providers import StoredProviders
from tertulia.ports.catalogue import Catalogue
from tertulia.ports.faults import no_faults
from tertulia.ports.signals import NoSignals
from tertulia.ports.store import Store
from tertulia.provider_settings import ProviderSettings
from tertulia.providers.accounts import ProviderAccounts
from tertulia.providers.catalogue import ProviderCatalogue
from tertulia.sandbox.service import ConfinedSandbox
from tertulia.settings import WebSettings
from tertulia.store.secrets import FernetSecrets
from tertulia.telemetry.metrics import Metrics


def services_over(store: Store, catalogue: Catalogue, **parts: Any) -> Services:
    """``parts`` are those of :class:`tertulia.app.Parts` that are to be others than these."""
    signals = parts.get("signals", NoSignals())
    accounts = ProviderAccounts(ProviderCatalogue((), None), ProviderSettings())
    plain: dict[str, Any] = {
        "providers": StoredProviders(store, FernetSecrets((), None), accounts, signals),
        "signals": signals,
        "api": ApiSettings(),
        "web": WebSettings(),
        "runs": RunSettings(),
        "description_model": None,
        "callback_secret": cache(lambda: secrets.token_bytes(32)),
        "tools": (),
        "sandbox": ConfinedSandbox(),
        "faults": no_faults,
        "metrics": Metrics(),
        "watchers": (),
        "pool": None,
    }
    return build_services(Parts(store=store, catalogue=catalogue, **plain | parts))
