"""The agent as a tool's ``agent_state`` parameter has it: its fields as attributes, and its memory to be edited."""

from typing import Any


class Fields(dict[str, Any]):
    """A JSON object whose fields are attributes as well."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; it has {', '.join(self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class Memory(Fields):
    """The blocks. What a tool changes of a block's value is taken over when it returns."""

    def get_blocks(self) -> list[Fields]:
        return self["blocks"]

    def list_block_labels(self) -> list[str]:
        return [block["label"] for block in self["blocks"]]

    def get_block(self, label: str) -> Fields:
        """:raises KeyError: if there is none of this label."""
        for block in self["blocks"]:
            if block["label"] == label:
                return block
        raise KeyError(f"there is no memory block {label!r}; there are {', '.join(self.list_block_labels())}")

    def update_block_value(self, label: str, value: str) -> None:
        """:raises KeyError: if there is none of this label."""
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] -- tools are not checked
            raise TypeError("a block's value is a string")
        self.get_block(label)["value"] = value


def state_of(agent: dict[str, Any]) -> Fields:
    """The agent's JSON as what a tool is given."""
    listed: list[dict[str, Any]] = agent["memory"]["blocks"]
    return Fields({**agent, "memory": Memory({"blocks": [Fields(block) for block in listed]})})
