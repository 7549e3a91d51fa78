"""A model that thinks, calls two tools at once and answers, in some dialect; what all of them have in common.

A mind remembers what it issued for its own eyes (signatures, encrypted items), and finds it in the requests it gets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.scripted_endpoint import ScriptedEndpoint

SEARCH = "conversation_search"
SEALS = "+/=é\u2028\t"  # of characters that JSON writes in more than one way


class Mind(ABC):
    """Use as a context manager. Every request is answered: with two calls, or after their returns with words.

    ``issued`` are its own items in the order they went out, ``marks`` are strings that only its own requests may hold.
    """

    name: ClassVar[str]
    model: ClassVar[str]
    settings: ClassVar[dict[str, Any]]

    def __init__(self) -> None:
        self.endpoint = self.new_endpoint()
        self.issued: list[Any] = []
        self.marks: list[str] = []
        self._number = 0

    def __enter__(self) -> Self:
        self.endpoint.__enter__()
        self.endpoint.answer_with(self.answer)
        return self

    def __exit__(self, *error: object) -> None:
        self.endpoint.__exit__(*error)

    def reset(self) -> None:
        self.endpoint.reset()
        self.issued, self.marks = [], []
        self.endpoint.answer_with(self.answer)

    @property
    def agent(self) -> dict[str, Any]:
        """The fields of an agent that has this mind."""
        return {"model": self.model, "model_settings": self.settings}

    def answer(self, request: Any) -> Sequence[Any]:
        self._number += 1
        return self.words(self._number) if self.has_returns(request) else self.calls(self._number)

    def thought(self, number: int) -> str:
        """New words of thinking that nobody else is to see."""
        words = f"{self.name} thinks of {number}.\n“So”\u2028"
        self.marks.append(f"{self.name} thinks of {number}.")
        return words

    def seal(self, number: int) -> str:
        """A new signature or encrypted item."""
        mark = f"{self.name}Sealed{number}"
        self.marks.append(mark)
        return f"{mark}{SEALS}"

    @abstractmethod
    def new_endpoint(self) -> ScriptedEndpoint[Any]:
        """Where it answers."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """What configures a server to ask this mind."""

    @abstractmethod
    def has_returns(self, request: Any) -> bool:
        """Whether the request ends with what tools returned."""

    @abstractmethod
    def calls(self, number: int) -> Sequence[Any]:
        """Thinking, a word and two calls of the search."""

    @abstractmethod
    def words(self, number: int) -> Sequence[Any]:
        """Thinking and ``answer number``."""

    @abstractmethod
    def broken(self, number: int) -> dict[str, Sequence[Any]]:
        """Replies that break off, by where they do."""

    @abstractmethod
    def returned(self, request: Any) -> list[Any]:
        """Its own items in the request, in their order."""
