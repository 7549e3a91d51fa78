"""Images in a body of Gemini's dialect: shown, told of, and returned by tools."""

from typing import Any

import pytest

from tertulia.domain.messages import Base64Image, ImagePart, StoredImage, TextPart, UrlImage
from tests.support.gemini_bodies import NEW, OLD, called, contents_of, message, new_encoder, returned, texts

PIXEL = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
HERE = Base64Image("image/png", "AAAA")


@pytest.mark.parametrize(
    ("source", "images", "part"),
    [
        (HERE, {}, PIXEL),
        (StoredImage("file-1", None, "AAAA"), {}, PIXEL),
        (UrlImage("data:image/png;base64,AAAA"), {}, PIXEL),
        (UrlImage("https://a.example/x"), {"https://a.example/x": HERE}, PIXEL),
        (
            UrlImage("https://a.example/x"),
            {"https://a.example/x": "its address answers 404"},
            {"text": "[an image is missing here: its address answers 404]"},
        ),
        (StoredImage("file-1"), {}, {"text": "[an image is missing here: it is no longer available]"}),
        (
            Base64Image("image/gif", "AAAA"),
            {},
            {"text": "[an image of type image/gif, which this model cannot see]"},
        ),
    ],
)
def test_images_are_shown_or_told_of(source: Any, images: dict[str, Any], part: dict[str, Any]) -> None:
    assert contents_of(message("user", "look", ImagePart(source)), images=images)[0][1] == [*texts("look"), part]


def test_an_image_that_was_not_loaded_is_shown_once_it_is() -> None:
    shared, url = new_encoder(), "https://a.example/x"
    look = message("user", ImagePart(UrlImage(url)))
    assert "text" in contents_of(look, encoder=shared)[0][1][0]
    assert contents_of(look, encoder=shared, images={url: HERE})[0][1] == [PIXEL]


def result_of(content: Any, model: str = NEW, **fields: Any) -> list[dict[str, Any]]:
    history = (
        message("user", "go"),
        message("assistant", called("a")),
        message("tool", returned("a", content, **fields)),
    )
    return contents_of(*history, model=model)[2][1]


def test_pictures_of_a_tool_go_inside_of_its_result() -> None:
    (part,) = result_of((TextPart("here"), ImagePart(HERE)))
    assert part["functionResponse"]["response"] == {"output": "here"}
    assert part["functionResponse"]["parts"] == [PIXEL]


def test_models_before_gemini_3_see_them_behind_all_results() -> None:
    picture = returned("a", (TextPart("here"), ImagePart(HERE)))
    history = (message("user", "go"), message("assistant", called("a"), called("b")), message("tool", picture))
    parts = contents_of(*history, message("tool", returned("b")), message("user", "?"), model=OLD)[2][1]
    assert [part["functionResponse"]["id"] for part in parts[:2]] == ["a", "b"]
    assert parts[2:] == [*texts("Returned by the tool search:"), PIXEL, *texts("?")]


@pytest.mark.parametrize(
    ("content", "status", "response"),
    [
        ("", "success", {"output": ""}),
        ((), "success", {"output": ""}),
        ((TextPart("a"), TextPart("b")), "success", {"output": "a\nb"}),
        ("", "error", {"error": "The tool failed and said nothing."}),
        ((ImagePart(StoredImage("f")),), "error", {"error": "[an image is missing here: it is no longer available]"}),
    ],
)
def test_a_result_is_output_or_an_error(content: Any, status: Any, response: dict[str, str]) -> None:
    assert result_of(content, status=status)[0]["functionResponse"]["response"] == response
