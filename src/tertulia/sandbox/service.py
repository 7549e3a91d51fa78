"""The server's side of the sandbox: which tier there is, one zygote for each environment, and the calls."""

import asyncio
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tertulia.ports.sandbox import SandboxLimits, SandboxOutcome, SandboxRequest, SandboxTier, SandboxUnavailable
from tertulia.sandbox.calls import call
from tertulia.sandbox.nursery import ZygoteProcess, start_zygote

_CONFINED: Final[tuple[SandboxTier, ...]] = ("namespaces", "landlock")
_AT_ONCE: Final = 64
"""Calls; more wait. Each may use the memory that its limits say."""
_REMEDY: Final = (
    "Tools need Linux with user namespaces or Landlock 6 (Linux 6.12), on x86-64 or arm64."
    " TERTULIA_TOOL_SANDBOX=off runs them without any confinement: they may then do whatever the server may."
)
NO_LIMITS_SAID: Final = SandboxLimits()


class ConfinedSandbox:
    """Zygotes start with the first call that needs them, and again if they die."""

    def __init__(
        self, *, tier: SandboxTier | None = None, limits: SandboxLimits = NO_LIMITS_SAID, python: str = sys.executable
    ) -> None:
        """``tier`` None: the best one that works here."""
        self._wanted: SandboxTier | None = tier
        self._limits = limits
        self._python = python
        self._lock = asyncio.Lock()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._zygote: ZygoteProcess | None = None
        self._closed = False

    async def tier(self) -> SandboxTier:
        """Which confinement works here; finding out starts the zygote.

        :raises SandboxUnavailable: if none does.
        """
        return (await self._ready()).tier

    async def run(self, request: SandboxRequest) -> SandboxOutcome:
        """Run one call. Whatever the tool does is an outcome.

        :raises SandboxUnavailable: if it cannot be confined, or this machine has not what it needs.
        """
        _refuse_what_is_not_there(request)
        limits = request.limits or self._limits
        async with self._at_once:
            zygote = await self._ready()
            return await call(zygote, request, limits)

    async def close(self) -> None:
        """End everything that runs."""
        self._closed = True
        async with self._lock:
            if self._zygote is not None:
                await self._zygote.close()
                self._zygote = None

    async def _ready(self) -> ZygoteProcess:
        if self._zygote is not None and self._zygote.alive:
            return self._zygote
        async with self._lock:
            if self._closed:
                raise SandboxUnavailable("The server is stopping.")
            if self._zygote is not None and not self._zygote.alive:
                await self._zygote.close()
                self._zygote = None
            if self._zygote is None:
                self._zygote = await self._start()
            return self._zygote

    async def _start(self) -> ZygoteProcess:
        if self._wanted is None and platform.system() != "Linux":
            raise SandboxUnavailable(f"Tools cannot be confined on {platform.system()}. {_REMEDY}")
        reasons: list[str] = []
        tiers: tuple[SandboxTier, ...] = _CONFINED
        if self._wanted is not None:
            tiers = (self._wanted,)
        for tier in tiers:
            try:
                return await self._probe(tier)
            except SandboxUnavailable as error:
                reasons.append(f"{tier}: {error}")
        raise SandboxUnavailable(f"{_REMEDY} What was tried: {'; '.join(reasons)}.")

    async def _probe(self, tier: SandboxTier) -> ZygoteProcess:
        """A zygote that has answered a first call."""
        base = await asyncio.to_thread(_new_directory)
        try:
            zygote = await start_zygote(self._python, tier, base)
        except SandboxUnavailable:
            await asyncio.to_thread(shutil.rmtree, base, ignore_errors=True)
            raise
        outcome = await call(zygote, _PROBE, SandboxLimits(wall_time_s=10))
        if outcome.status == "error":
            await zygote.close()
            raise SandboxUnavailable(outcome.error or "a first call failed")
        return zygote


_PROBE: Final = SandboxRequest(
    source="def probe():\n    open('written', 'w').close()\n", function="probe", arguments={}
)


def _new_directory() -> Path:
    base = Path(tempfile.mkdtemp(prefix="tertulia-tools-"))
    if os.geteuid() == 0:
        base.chmod(0o711)  # calls run as users of their own
    return base


def _refuse_what_is_not_there(request: SandboxRequest) -> None:
    if request.source_type != "python":
        raise SandboxUnavailable("This server runs tools in Python alone; a TypeScript tool cannot be run.")
    if request.requirements:
        raise SandboxUnavailable("This server does not install requirements of tools.")
    if request.network not in {None, "none"}:
        raise SandboxUnavailable("Tools have no network on this server.")
