"""Writes `docs/providers.md` from the server's own tables: `python -m tests.conformance.make_provider_docs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tertulia.domain.provider_types import COMPATIBLE, PROVIDER_TYPES, ProviderType
from tertulia.providers.setting_rules import Implied, Refused, Sent
from tests.conformance.provider_settings import VARIANTS, Variant, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tertulia.providers.setting_rules import Rule

DOCUMENT = Path(__file__).parents[2] / "docs" / "providers.md"

_INTRODUCTION = """\
# Providers

What configures each type of model provider, and what becomes of every setting that a user may give its models. This
page is written by `python -m tests.conformance.make_provider_docs` from the tables that the server itself reads, and a
test sends every setting below through the API and looks for it on the wire.

## How it works

- A provider is configured by variables of the environment (or `.env`), or stored with `POST /v1/providers/`. A handle
  is `<name>/<model>`: the name of a configured provider is the first of its handles' beginnings below.
- Every address can be replaced by the variable for it, say by that of a proxy. Each variable may have the prefix
  `TERTULIA_`, which goes first. An address that redirects is not followed, but told to be wrong.
- `model_settings` of an agent, of a conversation and of the summarizer (`compaction_settings.model_settings`) go the
  same way. Their `provider_type` must be the one that the type takes, otherwise the request is refused with 400.
  A message may go to a model of another type, by the `model` of its conversation, by `override_model` or as a
  fallback; settings stay behind where a model of another type than theirs answers.
- **Sent** settings arrive at the place named, within the body of the request; `[]` stands for every element of a list.
  Nothing is sent that nobody set, apart from what a request needs: the model, the conversation, the tools, the wish for
  a stream and for token counts, marks of what is worth caching, and what an API insists on: `max_tokens` in the
  Messages dialect, `strict` of each tool over Responses, where tools would be strict by themselves.
- A JSON schema may be given bare or as OpenAI wants it, with a name. Where the place named is of the schema itself, the
  name and what else is beside the schema go along in the dialects of OpenAI, which have a place for them; others take
  the schema alone.
- **Refused** settings are answered with 400 when they are set, with the reason given here.
- **Nothing to send**: the provider does just that without being told.
- A request that fails before the first token for a reason that may pass (rate limits, overload, failures of the server
  or the connection) is made again up to `TERTULIA_MODEL_RETRIES` times, with a growing wait, or after the time the
  provider asks for if that is at most 5 seconds.
"""

_COMPATIBLE = """\
`TERTULIA_ENDPOINTS` is JSON: names of your choice, each with a `base_url` and, if needed, an `api_key` and `models`.
The server must speak Chat Completions. One at the host of a service above is spoken to as that service; models of
OpenAI's that reason (`o…`, `gpt-5…`) get `max_completion_tokens` from any other."""


def document() -> str:
    """The page as it should be."""
    return "\n".join([_INTRODUCTION, _overview(), *(_section(row) for row in (*PROVIDER_TYPES, COMPATIBLE))])


def _overview() -> str:
    rows = [
        f"| [{row.title}](#{_anchor(row)}) | {_code(row.prefixes)} | {_needs(row)} | `{row.settings_types[0]}` |"
        for row in PROVIDER_TYPES
    ]
    return "\n".join(
        ["## The types", "", "| provider | handles begin with | to set | settings |", "|---|---|---|---|", *rows, ""]
    )


def _section(row: ProviderType) -> str:
    lines = [f"## {row.title}", "", *_configuration(row), ""]
    for variant in VARIANTS:
        if variant.row is row:
            lines += [*([f"**{variant.title}**", ""] if variant.title else []), *_settings(variant), ""]
    return "\n".join(lines)


def _configuration(row: ProviderType) -> list[str]:
    if row is COMPATIBLE:
        return [_COMPATIBLE]
    known = "the provider's own, by its region" if row.login is None else ""
    address = f"`{row.base_url}`" if row.base_url else ("none" if row.url_variables[0] in row.needs else known)
    rows = [f"| {_code(row.key_variables)} | the key |"] if row.key_variables else []
    rows += [f"| {_code(row.url_variables)} | the address; without, {address} |"]
    rows += [f"| {_code(option.variables)} | {option.meaning} |" for option in row.options]
    login = [f"It is configured by signing in: `{row.login}`.", ""] if row.login else []
    return [*login, "| variable | what it is |", "|---|---|", *rows]


def _settings(variant: Variant) -> list[str]:
    rules = variant.rules
    rows = [f"| `{name}` | {_cell(_said(rules[name]))} |" for name in settings_of(variant.shape)]
    head = f"| setting of `{variant.settings_type}` | becomes |"
    return [head, "|---|---|", *rows]


def _said(rule: Rule) -> str:
    match rule:
        case Sent():
            parts = [f"`{rule.path}`", _changed(rule.values), rule.note, *_exceptions(rule.refused)]
            return "sent: " + "; ".join(part for part in parts if part)
        case Refused():
            return f"refused: {rule.reason}"
        case Implied():
            return "; ".join([f"nothing to send: {rule.reason}", *_exceptions(rule.refused)])


def _changed(values: Mapping[Any, Any]) -> str:
    return ", ".join(f"`{json.dumps(given)}` as `{json.dumps(wire)}`" for given, wire in values.items())


def _exceptions(refused: Mapping[Any, str]) -> list[str]:
    return [f"`{json.dumps(value)}` is refused: {reason}" for value, reason in refused.items()]


def _needs(row: ProviderType) -> str:
    return f"`{row.login}`" if row.login else _code(row.needs)


def _code(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _anchor(row: ProviderType) -> str:
    return "".join(letter for letter in row.title.lower().replace(" ", "-") if letter.isalnum() or letter == "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
