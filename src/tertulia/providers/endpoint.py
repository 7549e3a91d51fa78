"""What is configured of one endpoint that speaks Chat Completions."""

from dataclasses import dataclass, field

from tertulia.providers.chat_errors import Subject
from tertulia.providers.provider_types import COMPATIBLE, ProviderType


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """One endpoint, with its models under the handles ``name/model``.

    ``base_url`` ends in its version path. ``models`` None means: ask it. Times are seconds; ``idle_timeout`` is the
    longest silence, before the reply and within it, ``list_timeout`` the longest wait for the list of models.
    """

    name: str
    type: ProviderType = COMPATIBLE
    base_url: str
    api_key: str | None = field(default=None, repr=False)
    models: tuple[str, ...] | None = None
    connect_timeout: float = 10
    idle_timeout: float = 300
    list_timeout: float = 3
    retries: int = 2

    @property
    def key_hint(self) -> str:
        """What to do about a key that is missing or wrong."""
        variable = self.type.variables[0] if self.type.variables else ""
        if variable.endswith("_KEY"):
            return f"Set {variable} to a valid key."
        return f"Configure '{self.name}' with an api_key in TERTULIA_ENDPOINTS."

    def subject(self, model: str = "") -> Subject:
        return Subject(name=self.name, endpoint=self.base_url, key_hint=self.key_hint, model=model)
