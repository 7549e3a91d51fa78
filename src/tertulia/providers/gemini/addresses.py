"""Where a Gemini endpoint's models are, and what it is spoken to with: addresses and options; does no input or output.

``google_ai`` is the Gemini API with a key. ``google_vertex`` is Vertex AI: with a project and Google's credentials, or
in express mode, with a key alone.
"""

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from tertulia.domain.errors import ProviderAuthenticationError, ProviderModelNotFound
from tertulia.providers.endpoint import EndpointConfig

_VERSION: Final = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?$")
_MULTI_REGIONS: Final = frozenset({"us", "eu"})


@dataclass(frozen=True, slots=True)
class Place:
    """One endpoint. ``base_url`` ends in the API's version. ``parent`` is what paths of Vertex's resources begin with.

    One of the others at most is set; with none of them Vertex takes what the machine has (``is_google``) or nothing.
    ``account`` is a service account's key as Google writes it to a file, ``file`` the path of a file of credentials.
    """

    base_url: str
    vertex: bool
    parent: str = ""
    api_key: str | None = None
    access_token: str | None = None
    account: dict[str, Any] | None = None
    file: str | None = None

    @property
    def is_google(self) -> bool:
        """Whether the machine's own credentials may be sent there unasked."""
        host = urlsplit(self.base_url).hostname or ""
        return host == "googleapis.com" or host.endswith(".googleapis.com")

    def generate(self, model: str) -> str:
        """The path of a streamed reply, after ``base_url``.

        :raises ProviderModelNotFound: if no model can have that name.
        """
        return f"/{self._resource(model)}:streamGenerateContent?alt=sse"

    def models(self, page: str = "") -> str:
        """The path of a page of the list of models."""
        path = "/publishers/google/models" if self.vertex else "/models"
        return f"{path}?pageSize=1000" + (f"&pageToken={quote(page, safe='')}" if page else "")

    def _resource(self, model: str) -> str:
        parts = model.split("/")
        if any(part in {"", ".", ".."} for part in parts):
            raise ProviderModelNotFound(f"There cannot be a model '{model}': a part of its name is missing.")
        name = quote(model, safe="/@._-")
        if not self.vertex:
            return name if parts[0] in {"models", "tunedModels"} else f"models/{name}"
        if parts[0] == "projects":
            return name
        if parts[0] not in {"publishers", "endpoints", "models"}:
            publisher, _, rest = name.partition("/")
            name = f"publishers/{publisher}/models/{rest}" if rest else f"publishers/google/models/{name}"
        return self.parent + name


def place_of(config: EndpointConfig) -> Place:
    """Where the endpoint is, of its address, its key and its options.

    Options are ``api_version``, and those of Vertex ``project``, ``location`` (or ``region``), ``access_token`` and
    ``credentials``, the path of a file. Vertex's key may also be the JSON of a service account.

    :raises ProviderAuthenticationError: if Vertex is not told what to be spoken to with.
    """
    options = config.options
    if config.type.provider_type != "google_vertex":
        base_url = _versioned(config.base_url, options.get("api_version") or "v1beta")
        return Place(base_url, vertex=False, api_key=config.api_key or "none")
    key, account = config.api_key, None
    if key is not None and key.lstrip().startswith("{"):
        key, account = None, _account(key, config)
    project = options.get("project") or (account or {}).get("project_id")
    location = location_of(config)
    if not project and not key:
        raise ProviderAuthenticationError(
            f"{config.name} needs the project whose models it serves. Set GOOGLE_CLOUD_PROJECT, or give an API key of "
            "Vertex AI's express mode.",
        )
    token = None if key or account else options.get("access_token")
    return Place(
        _versioned(config.base_url, options.get("api_version") or "v1beta1"),
        vertex=True,
        parent=f"projects/{quote(str(project), safe=':')}/locations/{quote(location, safe='')}/" if project else "",
        api_key=key,
        access_token=token,
        account=account,
        file=None if key or account or token else options.get("credentials"),
    )


def location_of(config: EndpointConfig) -> str:
    """Where Vertex's models are to answer."""
    return config.options.get("location") or config.options.get("region") or "global"


def vertex_address(location: str) -> str:
    """Vertex's public address for a location, without the API's version."""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def _versioned(base_url: str, version: str) -> str:
    base_url = base_url.rstrip("/")
    return base_url if _VERSION.search(base_url) else f"{base_url}/{version}"


def _account(text: str, config: EndpointConfig) -> dict[str, Any]:
    try:
        account = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ProviderAuthenticationError(
            f"The key of {config.name} looks like the JSON of a service account but is not: {error}.",
        ) from error
    # Other files of credentials can name commands to run and addresses to ask.
    if account.get("type") != "service_account":
        raise ProviderAuthenticationError(
            f"The key of {config.name} is JSON of the type '{account.get('type')}': give that of a service account.",
        )
    return account
