"""The form in which each provider type says what becomes of every setting: encoders, checks and the docs read it.

A setting is named by its field, with a dot before a field inside of it: ``temperature``, ``thinking.budget_tokens``.
Of ``response_format`` and ``response_schema`` each kind is a setting of its own: ``response_format.json_schema`` has
the bare schema for its value, ``response_format.text`` and ``response_format.json_object`` the name of the kind.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from msgspec import structs
from msgspec.json import encode as to_json

from tertulia.domain.errors import InvalidArgument
from tertulia.domain.models import ModelSettings


@dataclass(frozen=True, slots=True)
class Sent:
    """The value goes to this place of the request's body.

    ``path`` has dots between the names, and ``[]`` after one whose every element has the rest: ``tools[].strict``.
    ``values`` says what becomes of the values that do not go as they are, ``refused`` why one of them cannot go.
    ``note`` is for the reader of the docs.
    """

    path: str
    values: Mapping[Any, Any] = field(default_factory=dict[Any, Any])
    refused: Mapping[Any, str] = field(default_factory=dict[Any, str])
    note: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no way to send it. ``reason`` goes on after "cannot be expressed to this provider: "."""

    reason: str


@dataclass(frozen=True, slots=True)
class Implied:
    """Nothing is sent, because the provider does just that without being told; ``reason`` says how so.

    ``refused`` says of the values that it does not do why they cannot be had.
    """

    reason: str
    refused: Mapping[Any, str] = field(default_factory=dict[Any, str])


Rule: TypeAlias = Sent | Refused | Implied
Rules: TypeAlias = Mapping[str, Rule]
"""By the name of the setting. What has no rule is refused."""

_FORMATS: Final = ("response_format", "response_schema")


def leaves(settings: ModelSettings) -> dict[str, Any]:
    """Every setting that the user set, by its name.

    :raises InvalidArgument: if a format is of no known kind, or is a schema without one.
    """
    found: dict[str, Any] = {}
    for name, value in structs.asdict(settings).items():
        if value is None or name == "provider_type":
            continue
        if name in _FORMATS:
            kind, wanted = _format(name, value)
            found[f"{name}.{kind}"] = wanted
        elif isinstance(value, dict):
            inner = cast("dict[str, Any]", value)
            found |= {f"{name}.{key}": said for key, said in inner.items() if said is not None}
        else:
            found[name] = value
    return found


def check(settings: ModelSettings, rules: Rules, provider: str) -> None:
    """Refuse what cannot be sent to the ``provider``.

    :raises InvalidArgument: the message names the setting and the reason.
    """
    for name, value in leaves(settings).items():
        rule = rules.get(name, _UNKNOWN)
        if isinstance(rule, Refused):
            raise cannot(name, rule.reason, provider)
        if rule.refused and value in rule.refused:
            raise cannot(f"{name} {to_json(value).decode()}", rule.refused[value], provider)


def parameters(settings: ModelSettings, rules: Rules, *, leave: Collection[str] = ()) -> dict[str, Any]:
    """The settings at their places in the body, without those inside of lists and those to ``leave``."""
    found: dict[str, Any] = {}
    for name, value in leaves(settings).items():
        rule = rules.get(name)
        if isinstance(rule, Sent) and name not in leave and "[]" not in rule.path:
            place(found, rule.path, on_the_wire(rule, value))
    return found


def sent(settings: ModelSettings | None, rules: Rules, name: str) -> Any:
    """What a setting, to be placed by hand, becomes; None where it is not set or not sent."""
    rule = rules.get(name)
    value = leaves(settings).get(name) if settings is not None else None
    return on_the_wire(rule, value) if isinstance(rule, Sent) and value is not None else None


def on_the_wire(rule: Sent, value: Any) -> Any:
    """What the value becomes."""
    return rule.values.get(value, value) if isinstance(value, str | int | bool | float) else value


def place(body: dict[str, Any], path: str, value: Any) -> None:
    """Put the value at the path, whose objects are made where they are not there yet."""
    *outer, last = path.split(".")
    for name in outer:
        body = body.setdefault(name, {})
    body[last] = value


def cannot(setting: str, reason: str, provider: str) -> InvalidArgument:
    return InvalidArgument(
        f"INVALID_ARGUMENT: model_settings.{setting} cannot be expressed to '{provider}': {reason}. Remove it.",
    )


def bare_schema(response_format: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON schema itself; users give it bare or as OpenAI wants it, under a name."""
    given = response_format.get("json_schema")
    if not isinstance(given, dict) or not given:
        return None
    named = cast("dict[str, Any]", given)
    inner = named.get("schema")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else named


_UNKNOWN: Final = Refused("it has no parameter for it")


def _format(name: str, given: dict[str, Any]) -> tuple[str, Any]:
    kind = given.get("type")
    if kind in {"text", "json_object"}:
        return kind, kind
    schema = bare_schema(given)
    if kind != "json_schema" or schema is None:
        raise InvalidArgument(
            f"INVALID_ARGUMENT: {name} must be of type text, json_object, or json_schema with a json_schema.",
        )
    return kind, schema
