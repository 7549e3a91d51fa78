"""The load of a soak: conversations in which every message makes the model call both tools, then say many words."""

import re
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import httpx

from bench.soak.checks import Sent, stream_complaints
from tests.support.following import PACE, PAUSE, follow, send
from tests.support.openai_endpoint import ChatRequest, Delay, Reply, Send, call, calls, text

MODEL: Final = "openai/gpt-4o-mini"
READ_TIMEOUT: Final = 4.0
"""Seconds of silence after which a reader asks another worker: the one it asked may be frozen."""
_WORDS: Final = 12
_GAP: Final = 0.03
_MOST_TRIES: Final = 300
_NUMBER: Final = re.compile(r"message (\d+)\.")


def answer(request: ChatRequest) -> Reply:
    """To a message, a call of each tool; to their returns, words with time between them."""
    number = _NUMBER.findall(request.last_user_text)[-1]
    if request.messages[-1]["role"] != "tool":
        once = call("append_once", {"line": f"m{number}"}, f"once_{number}")
        again = call("append_again", {"line": f"m{number}"}, f"again_{number}")
        return calls(once, again, say="let me see ")
    paced = [act for word in range(_WORDS) for act in (Send({"content": f"w{word} "}), Delay(_GAP))]
    return [*paced, *text(f"end of {number}")]


class Load:
    """Sends messages, each conversation's one after the other, until ``wanted`` were sent, and checks each stream."""

    def __init__(self, next_url: Callable[[], str], wanted: int) -> None:
        self._next_url = next_url
        self._wanted = wanted
        self._lock = threading.Lock()
        self.over = threading.Event()
        self.sent: dict[int, str] = {}
        self.broken = 0
        self.resumed = 0
        self.wrong: list[str] = []
        self.given_up: set[int] = set()

    def converse(self, conversation_id: str) -> None:
        """One sender: a message, its stream to the end, the next message."""
        with httpx.Client(timeout=httpx.Timeout(READ_TIMEOUT, connect=2.0)) as http:
            while (sent := self._next(conversation_id)) is not None:
                self._send(http, sent)
                wrong = stream_complaints(http, self._next_url, sent)
                with self._lock:
                    self.broken += sent.told.breaks > 0
                    self.resumed += sent.told.resumed > 0
                    self.wrong += wrong
                    if sent.given_up:
                        self.given_up.add(sent.number)

    def _next(self, conversation_id: str) -> Sent | None:
        with self._lock:
            if len(self.sent) >= self._wanted or self.over.is_set():
                return None
            number = len(self.sent) + 1
            self.sent[number] = conversation_id
            return Sent(number, conversation_id)

    def _send(self, http: httpx.Client, sent: Sent) -> None:
        """Sent again by its otid until a server has it, so that it is one message however often."""
        message = {"role": "user", "content": f"message {sent.number}.", "otid": f"otid-{sent.number}"}
        body: dict[str, Any] = {"messages": [message], "background": True, "busy_policy": "enqueue"}
        path = f"/v1/conversations/{sent.conversation_id}/messages"
        for _ in range(_MOST_TRIES):
            try:
                send(http, self._next_url(), path, body, sent.told)
            except httpx.HTTPStatusError as refused:
                if refused.response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    message = f"message {sent.number}: {refused.response.status_code} {refused.response.text}"
                    raise AssertionError(message) from refused
            except httpx.HTTPError:
                pass  # it died or froze
            if sent.told.run_id is not None:
                break
            _ = PACE.wait(PAUSE)
        else:
            message = f"message {sent.number} was never taken"
            raise AssertionError(message)
        if not sent.told.done:
            sent.told.breaks += 1
            _ = follow(http, self._next_url, sent.told.run_id, sent.told)
