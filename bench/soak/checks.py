"""What must be true after a soak, whatever was killed: each complaint is a line, none is what is wanted."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx

from tests.support.following import Told, follow, history

_INTERRUPTED: Final = "interrupted"
_GIVEN_UP: Final = "The server died again and again"
"""How the error of a run begins that too many workers died of, by chance: it is ended, and its readers are told."""
_PAUSE_S: Final = 0.1


@dataclass(slots=True)
class Sent:
    """One message, and all that its sender was told."""

    number: int
    conversation_id: str
    told: Told = field(default_factory=Told)
    given_up: bool = False


def stream_complaints(http: httpx.Client, next_url: Callable[[], str], sent: Sent) -> list[str]:
    """Numbers rise, and what was told live is what is told now: nothing is missing and nothing there twice."""
    told, name = sent.told, f"message {sent.number} ({sent.told.run_id})"
    if told.run_id is None:
        return [f"{name}: it has no run"]
    found: list[str] = []
    again = follow(http, next_url, told.run_id, Told())
    for which, numbers in (("live", told.numbers), ("again", again.numbers)):
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            found.append(f"{name}: the numbers of its frames do not rise ({which}): {numbers}")
    if told.kept != again.kept:
        found.append(f"{name}: told {_brief(told)}, and when read again {_brief(again)}")
    sent.given_up = _was_given_up(_run(http, next_url, told.run_id))
    if not told.text.endswith(f"end of {sent.number}") and not sent.given_up:
        found.append(f"{name}: it ends with {told.text[-60:]!r}")
    return found


def complaints(
    http: httpx.Client, url: str, sent: Mapping[int, str], effects: Path, given_up: Collection[int] = ()
) -> list[str]:
    """Everything that is wrong, as the server at ``url`` shows it. ``sent``: each message's conversation.

    The runs of messages that were ``given_up`` need not have done everything.
    """
    conversations = sorted(set(sent.values()))
    return [
        *_unfinished(http, url),
        *_of_effects(http, url, sent, effects, given_up),
        *(each for id_ in conversations for each in _of_history(http, url, id_)),
    ]


def _unfinished(http: httpx.Client, url: str) -> list[str]:
    """Runs that did not end, or not as they should."""
    query = {"statuses": ["created", "running", "failed", "cancelled"], "limit": 1000}
    runs = http.get(f"{url}/v1/runs/", params=query).raise_for_status().json()
    return [f"{run['id']} is {run['status']}" for run in runs if not _was_given_up(run)]


def _run(http: httpx.Client, next_url: Callable[[], str], run_id: str) -> dict[str, Any]:
    """The run as a server shows it; those that are asked may be dead just then."""
    while True:
        try:
            found: dict[str, Any] = http.get(f"{next_url()}/v1/runs/{run_id}").raise_for_status().json()
        except httpx.HTTPError:
            time.sleep(_PAUSE_S)
        else:
            return found


def _was_given_up(run: dict[str, Any]) -> bool:
    return run["status"] == "failed" and _GIVEN_UP in str(run["metadata"])


def _brief(told: Told) -> list[str]:
    """Each frame's number, kind, message and first words."""
    return [
        f"{each['seq_id']} {each['message_type']} {each['id'][-4:]} {str(each.get('content') or '')[:9]}"
        + (f"{each['event_data']}" if "event_data" in each else "")
        for each in told.frames
    ]


def _of_effects(
    http: httpx.Client, url: str, sent: Mapping[int, str], effects: Path, given_up: Collection[int]
) -> list[str]:
    lines = Counter(" ".join(line.split()[:2]) for line in effects.read_text().splitlines())
    found = [f"{line} was appended {times} times" for line, times in lines.items() if "_once" in line and times > 1]
    returns = _returns(http, url, sorted(set(sent.values())))
    for number in (each for each in sent if each not in given_up):
        once, again = f"once_{number}", f"again_{number}"
        if not lines[f"append_again m{number}"] or returns.get(again) != ["appended"]:
            found.append(f"message {number}: append_again is not complete ({returns.get(again)})")
        told = returns.get(once, [])
        if len(told) != 1 or (told[0] != "appended" and _INTERRUPTED not in told[0]):
            found.append(f"message {number}: append_once returned {told}")
        if told == ["appended"] and not lines[f"append_once m{number}"]:
            found.append(f"message {number}: append_once was lost")
    return found


def _returns(http: httpx.Client, url: str, conversations: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id_ in conversations:
        for message in history(http, url, id_):
            if message["message_type"] == "tool_return_message":
                found.setdefault(message["tool_call_id"], []).append(message["tool_return"])
    return found


def _of_history(http: httpx.Client, url: str, conversation_id: str) -> list[str]:
    messages = history(http, url, conversation_id)
    said = Counter(each["content"] for each in messages if each["message_type"] == "user_message")
    called = Counter(
        each["tool_call_id"]
        for message in messages
        if message["message_type"] == "tool_call_message"
        for each in message["tool_calls"]
    )
    returned = Counter(each["tool_call_id"] for each in messages if each["message_type"] == "tool_return_message")
    found = [f"{conversation_id}: {text!r} is there {times} times" for text, times in said.items() if times > 1]
    if called != returned:
        found.append(f"{conversation_id}: calls and returns differ: {called - returned}, {returned - called}")
    body = {"input": "message 0.", "streaming": False}
    reply = http.post(f"{url}/v1/conversations/{conversation_id}/messages", json=body)
    if reply.is_error:
        found.append(f"{conversation_id} does not take the next message: {reply.status_code} {reply.text}")
    return found
