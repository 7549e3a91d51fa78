"""The models of an account, from the lists of Bedrock's control plane."""

from tertulia.providers.bedrock.listing import listed, model_behind
from tests.support.bedrock_endpoint import foundation_model, profile

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
MODELS = [
    foundation_model("amazon.nova-lite-v1:0", "Nova Lite", inputModalities=["TEXT", "IMAGE"]),
    foundation_model(CLAUDE, "Claude Sonnet 4.5", inferenceTypesSupported=["INFERENCE_PROFILE"]),
    foundation_model("amazon.titan-image-v1", "Titan Image", outputModalities=["IMAGE"]),
    foundation_model("twelvelabs.pegasus-v1:0", "Pegasus", inputModalities=["VIDEO"]),
    foundation_model("old.silent-v1", "Silent", responseStreamingSupported=False),
]
PROFILES = [
    profile(f"us.{CLAUDE}", "US Claude Sonnet 4.5", CLAUDE),
    profile("us.twelvelabs.pegasus-v1:0", "US Pegasus", "twelvelabs.pegasus-v1:0"),
    profile("us.going", "Going", CLAUDE, status="INACTIVE"),
    profile("abc123", "Ours", CLAUDE, type="APPLICATION"),
]
OURS = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/abc123"


def test_what_can_be_asked_is_listed_under_what_it_is_asked_by() -> None:
    assert [(row.id, row.display_name) for row in listed(MODELS, PROFILES)] == [
        ("amazon.nova-lite-v1:0", "Nova Lite"),
        (f"us.{CLAUDE}", "US Claude Sonnet 4.5"),
        (OURS, "Ours"),
    ]


def test_either_list_may_be_missing() -> None:
    assert [row.id for row in listed(MODELS, [])] == ["amazon.nova-lite-v1:0"]
    assert [row.id for row in listed([], PROFILES)] == [f"us.{CLAUDE}", "us.twelvelabs.pegasus-v1:0", OURS]
    assert listed([], []) == []


def test_the_model_behind_a_profile_is_known() -> None:
    assert model_behind(PROFILES[3]) == CLAUDE
    assert model_behind({"models": []}) == ""
