"""The section of a system prompt that tells which skills a client has; not the skills, which the client keeps."""

from collections.abc import Sequence

from tertulia.domain.tools import ClientSkill


def with_skills(prompt: str, skills: Sequence[ClientSkill]) -> str:
    """The system prompt with the skills named at its end, where they leave the rest of it cacheable."""
    if not skills:
        return prompt
    shown = "\n".join(_skill(skill) for skill in skills)
    section = (
        "<available_skills>\n"
        "Instructions for special tasks. Before a task that one of them describes, read the file at its location.\n\n"
        f"{shown}\n"
        "</available_skills>"
    )
    return f"{prompt}\n\n{section}" if prompt else section


def _skill(skill: ClientSkill) -> str:
    return (
        "<skill>\n"
        f"<name>{skill.name}</name>\n"
        f"<description>{skill.description}</description>\n"
        f"<location>{skill.location}</location>\n"
        "</skill>"
    )
