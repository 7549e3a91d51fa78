"""What is asked of a search service and what it finds, whichever service it is."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

from msgspec import Meta, Struct

from tertulia.domain.errors import TertuliaError

Category: TypeAlias = Literal[
    "company",
    "research paper",
    "news",
    "pdf",
    "github",
    "tweet",
    "personal site",
    "linkedin profile",
    "financial report",
]


class SearchArguments(Struct, forbid_unknown_fields=True, kw_only=True):
    query: Annotated[str, Meta(min_length=1, description="What to find, in natural language.")]
    num_results: Annotated[int, Meta(ge=1, le=100, description="How many results at the most.")] = 10
    category: Annotated[Category | None, Meta(description="Only pages of this kind.")] = None
    include_text: Annotated[
        bool,
        Meta(description="Return the pages' whole text too. It is long: prefer fetch_webpage for the best result."),
    ] = False
    include_domains: Annotated[tuple[str, ...] | None, Meta(description="Only pages of these domains.")] = None
    exclude_domains: Annotated[tuple[str, ...] | None, Meta(description="No pages of these domains.")] = None
    start_published_date: Annotated[str | None, Meta(description="Only pages published after this ISO 8601 date.")] = (
        None
    )
    end_published_date: Annotated[str | None, Meta(description="Only pages published before this ISO 8601 date.")] = (
        None
    )
    user_location: Annotated[
        Annotated[str, Meta(pattern="^[A-Za-z]{2}$")] | None, Meta(description="The user's country, in two letters.")
    ] = None


class SearchFailed(TertuliaError):
    """The search service could not or would not answer. The message is written for the model."""


class SearchService(Protocol):
    async def search(self, wanted: SearchArguments) -> Sequence[dict[str, Any]]:
        """The results as the model is to read them: title, url and what the service says of each.

        :raises TertuliaError: if the service fails, or cannot do what is wanted.
        """
        ...
