"""What a model behind Bedrock is, by its id."""

import pytest

from tertulia.providers.bedrock.models import family_of


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("anthropic.claude-v2:1", "first claude"),
        ("anthropic.claude-instant-v1", "first claude"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "first claude"),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "first claude"),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", "older claude"),
        ("us-gov.anthropic.claude-3-7-sonnet-20250219-v1:0", "older claude"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "older claude"),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", "older claude"),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "claude"),
        ("anthropic.claude-opus-4-6-v1", "claude"),
        ("anthropic.claude-sonnet-4-6", "claude"),
        ("anthropic.claude-opus-5", "claude"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-5", "claude"),
        ("us.amazon.nova-2-lite-v1:0", "nova"),
        ("amazon.titan-text-express-v1", "other"),
        ("mistral.pixtral-large-2502-v1:0", "mistral large"),
        ("mistral.mistral-7b-instruct-v0:2", "other"),
        ("us.meta.llama4-maverick-17b-instruct-v1:0", "other"),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", "other"),
    ],
)
def test_a_model_belongs_to_the_family_its_id_tells(model: str, family: str) -> None:
    assert family_of(model).name == family
