"""Frames: what is stored of a step's request beside its history."""

import dataclasses

from tertulia.engine.turn.step import Frame
from tertulia.ports.provider import ModelRequest


def test_a_frame_has_all_of_a_request_but_what_its_history_and_its_model_are_found_by() -> None:
    found_again = {"model", "messages", "images"}
    asked = {field.name for field in dataclasses.fields(ModelRequest)}
    assert {*Frame.__struct_fields__} - {"handle"} == asked - found_again
