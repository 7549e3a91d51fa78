"""What may be sent: bodies, their errors, and what the engine makes of them."""

import json
import re
from base64 import b64encode
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from tertulia.api.bodies import body_schemas, read_body
from tertulia.api.wire.requests import ConversationSendBody, send_request
from tertulia.domain.errors import InvalidArgument, TertuliaError, Unprocessable, Unsupported
from tertulia.domain.messages import Base64Image, ImagePart, TextPart, UrlImage
from tertulia.engine.requests import SendRequest


async def read(content: bytes) -> ConversationSendBody:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content}

    headers = [(b"content-type", b"application/json")]
    return await read_body(Request({"type": "http", "headers": headers, "path": "/"}, receive), ConversationSendBody)


PNG = b64encode(b"\x89PNG\r\n\x1a\n....").decode()
NO_IMAGES = (
    b"hi",
    b"%PDF-1.7",
    b"<svg xmlns=",
    b"<!doctype html>",
    b"II*\0....",
    b"\0\0\0\x18ftypmp42",
    b"ID3\4",
    b"\0" * 64,
)


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


async def asked(*, streaming: bool = True, **fields: Any) -> SendRequest:
    return send_request("conv-1", await read(json.dumps(fields).encode()), streaming=streaming)


async def complaints(content: bytes) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(RequestValidationError) as refused:
        await read(content)
    return [(tuple(error["loc"]), str(error["msg"])) for error in refused.value.errors()]


async def test_input_is_short_for_one_user_message() -> None:
    request = await asked(input="hi")
    assert request == await asked(messages=[{"role": "user", "content": "hi"}])
    assert request.messages[0].content == (TextPart("hi"),)


async def test_parts_are_told_by_type_or_by_their_fields() -> None:
    request = await asked(
        input=[
            {"type": "text", "text": "look"},
            {"text": "here"},
            {"type": "image", "source": {"type": "url", "url": "https://a.test/b.png"}},
            {"source": {"data": PNG, "media_type": "image/png"}},
        ]
    )
    assert request.messages[0].content == (
        TextPart("look"),
        TextPart("here"),
        ImagePart(UrlImage("https://a.test/b.png")),
        ImagePart(Base64Image("image/png", PNG)),
    )


async def test_everything_a_request_says_reaches_the_engine() -> None:
    message = {"type": "message", "role": "user", "content": "hi", "otid": "o", "name": "Ann", "sender_id": "s",
               "group_id": "g", "batch_item_id": "b"}  # fmt: skip
    request = await asked(
        messages=[message],
        background=True,
        max_steps=3,
        stream_tokens=True,
        include_return_message_types=["assistant_message"],
        include_compaction_messages=True,
        use_assistant_message=False,
        assistant_message_tool_name="say",
        assistant_message_tool_kwarg="what",
        override_model="a/b",
        override_system="Be brief.",
    )
    (sent,) = request.messages
    assert {name: getattr(sent, name) for name in message if name not in {"type", "content"}} == {
        name: value for name, value in message.items() if name not in {"type", "content"}
    }
    assert (request.background, request.max_steps) == (True, 3)
    assert (request.override_model, request.override_system) == ("a/b", "Be brief.")
    config = request.config
    assert (config.stream_tokens, config.include_compaction_messages) == (True, True)
    assert config.include_return_message_types == ("assistant_message",)
    assert (config.use_assistant_message, config.assistant_message_tool_name) == (False, "say")
    assert config.assistant_message_tool_kwarg == "what"


async def test_a_blocking_request_is_never_a_background_one() -> None:
    assert not (await asked(input="hi", background=True, streaming=False)).background


async def test_fields_of_other_releases_do_no_harm() -> None:
    assert (await asked(input="hi", what_comes_next=1)).messages


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        ({}, (), "neither was sent"),
        ({"input": "a", "messages": []}, (), "not both"),
        ({"messages": []}, (), "Messages must not be empty"),
        ({"input": []}, (), "Input must not be empty"),
        ({"input": 5}, ("input",), "valid string"),
        ({"input": "a", "max_steps": 0}, ("max_steps",), "greater than or equal to 1"),
        ({"input": "a", "include_return_message_types": ["x"]}, ("include_return_message_types", 0), "system_message"),
        ({"messages": [4]}, ("messages", 0), "message, approval, tool_return"),
        ({"messages": [{"role": "tool", "content": "a"}]}, ("messages", 0, "role"), "'user', 'system' or 'assistant'"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, ("messages", 0, "content", 0), "text, image"),
        ({"input": [{"type": "text", "text": 1}]}, ("input", 0, "text"), "valid string"),
        ({"input": [{"source": {"type": "url", "url": "a"}}]}, ("input", 0, "source", "url"), "https://"),
        (
            {"input": [{"source": {"type": "base64", "media_type": "image/png", "data": "*"}}]},
            ("input", 0, "source", "data"),
            "not base64",
        ),
        (
            {"input": [{"source": {"type": "base64", "media_type": "text/plain", "data": PNG}}]},
            ("input", 0, "source", "media_type"),
            "image",
        ),
        ({"input": [{"source": {"data": "", "media_type": "image/png"}}]}, ("input", 0, "source", "data"), "is empty"),
        (
            {"input": [{"source": {"data": "Qk0xMjM0", "media_type": "image/png"}}]},
            ("input", 0, "source", "data"),
            "convert it to PNG, JPEG, GIF or WebP",
        ),
        *(
            ({"input": [{"source": source}]}, ("input", 0, "source", place), "convert it to PNG, JPEG, GIF or WebP")
            for data in map(_base64, NO_IMAGES)
            for source, place in (
                ({"data": data, "media_type": "image/png"}, "data"),
                ({"url": f"data:image/jpeg;base64,{data}"}, "url"),
            )
        ),
        (
            {
                "messages": [
                    {
                        "type": "tool_return",
                        "tool_returns": [
                            {
                                "type": "tool",
                                "tool_call_id": "c",
                                "status": "success",
                                "tool_return": [{"source": {"data": _base64(b"hi"), "media_type": "image/png"}}],
                            }
                        ],
                    }
                ]
            },
            ("messages", 0, "tool_returns", 0, "tool_return", 0, "source", "data"),
            "convert it to PNG, JPEG, GIF or WebP",
        ),
        ({"input": [{"source": {"url": "data:image/png,x"}}]}, ("input", 0, "source", "url"), "as base64"),
        ({"input": [{"source": {"url": "data:image/png;base64,*"}}]}, ("input", 0, "source", "url"), "is not base64"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_told_with_its_place(body: Any, place: tuple[str | int, ...], words: str) -> None:
    ((found, message),) = await complaints(json.dumps(body).encode())
    assert found == ("body", *place)
    assert words in message


@pytest.mark.parametrize(
    ("content", "offset"),
    [(b"", 0), (b"[", 1), (b'{"input": "a"\n  oops}', 17), (b'{"input": NaN}', 11), (b'{"input": "\\ud800"}', 18)],
    ids=str,
)
async def test_what_is_no_json_is_told_with_its_character(content: bytes, offset: int) -> None:
    ((place, _),) = await complaints(content)
    assert place == ("body", offset)


@pytest.mark.parametrize("content", [b"null", b"[]", b'"text"', b"[" * 5000], ids=["null", "list", "text", "deep"])
async def test_a_body_is_an_object(content: bytes) -> None:
    assert await complaints(content)


@pytest.mark.parametrize(
    "fields",
    [
        {"enable_thinking": "true"},
        {"top_logprobs": 0},
        {"return_token_ids": True},
    ],
    ids=str,
)
async def test_what_no_model_here_can_do_is_refused_by_name(fields: dict[str, Any]) -> None:
    (name,) = fields
    with pytest.raises(InvalidArgument, match=name):
        await asked(input="hi", **fields)


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        ({"role": "user", "content": [{"type": "reasoning", "reasoning": "hm"}]}, Unsupported, "reasoning"),
        ({"role": "user", "content": [{"source": {"file_id": "file-1"}}]}, Unsupported, "letta"),
        ({"role": "user", "content": []}, Unprocessable, "must not be empty"),
        (
            {"role": "system", "content": [{"source": {"url": "https://a.test"}}]},
            Unprocessable,
            "sent with role 'user'",
        ),
    ],
    ids=str,
)
async def test_messages_that_cannot_be_taken_are_refused(
    message: dict[str, Any], error: type[TertuliaError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await asked(messages=[message])


async def test_two_messages_of_a_request_cannot_have_one_otid() -> None:
    message = {"role": "user", "content": "a", "otid": "same"}
    with pytest.raises(Unprocessable, match="otid"):
        await asked(messages=[message, message])


def test_the_document_has_every_shape_that_bodies_refer_to_under_a_name_of_its_own() -> None:
    schemas = body_schemas()
    referred = set(re.findall(r'#/components/schemas/([^"]+)', json.dumps(schemas)))
    assert referred <= set(schemas)
    assert all(name.endswith("-Body") for name in schemas)
