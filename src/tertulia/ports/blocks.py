"""Memory blocks as the store has them, and the agents that they are attached to."""

from collections.abc import Sequence
from typing import Protocol

from tertulia.domain.blocks import Block
from tertulia.domain.conversations import Conversation
from tertulia.ports.queries import BlockQuery


class Blocks(Protocol):
    def insert(self, block: Block) -> None: ...
    def get(self, block_id: str) -> Block: ...
    def replace(self, block: Block) -> Block:
        """Store the block if its ``version`` is still the stored one; returned with the next version.

        :raises BlockClash: if somebody else changed it meanwhile; nothing is written.
        """
        ...

    def delete(self, block_id: str) -> None: ...
    def find(self, query: BlockQuery) -> list[Block]: ...
    def count(self, query: BlockQuery) -> int:
        """How many pass the filters, whatever the page."""
        ...

    def of_conversation(self, conversation: Conversation) -> list[Block]:
        """The blocks a conversation shows: its agent's, those it isolates in place of the ones of the same label.

        An isolated block that was deleted stands for nothing any more.
        """
        ...

    def of_agents(self, agent_ids: Sequence[str]) -> dict[str, list[Block]]:
        """Each agent's blocks in the order they were attached."""
        ...

    def attach(self, agent_id: str, block_id: str) -> None:
        """Attach at the end; a block that is attached already stays where it is."""
        ...

    def detach(self, agent_id: str, block_id: str) -> None: ...
