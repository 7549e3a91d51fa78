"""Whether users' tools can be confined on this machine, and how."""

import asyncio

from tertulia.cli.findings import Finding
from tertulia.ports.sandbox import SandboxTier, SandboxUnavailable
from tertulia.sandbox.service import ConfinedSandbox
from tertulia.settings import Settings

_SUBJECT = "sandbox"


def check_tools(settings: Settings) -> list[Finding]:
    if settings.tool_sandbox == "off":
        return [Finding("warn", _SUBJECT, "off (TERTULIA_TOOL_SANDBOX): tools may do whatever the server may")]
    try:
        tier = asyncio.run(_tier())
    except SandboxUnavailable as error:
        return [Finding("off", _SUBJECT, str(error))]
    said = "user, mount, PID, network and IPC namespaces" if tier == "namespaces" else "Landlock and seccomp"
    return [Finding("ok", _SUBJECT, f"{tier}: {said}")]


async def _tier() -> SandboxTier:
    sandbox = ConfinedSandbox()
    try:
        return await sandbox.tier()
    finally:
        await sandbox.close()
