"""A tool that a user wrote, run in the sandbox."""

from types import MappingProxyType
from typing import Any

from tertulia.domain.tools import ToolOutcome, ToolSpec
from tertulia.ports.sandbox import Sandbox, SandboxOutcome, SandboxRequest, SandboxUnavailable, SourceType
from tertulia.ports.tool import ToolContext


class CustomTool:
    """``variables`` are what the tool sees of the environment, beside the agent's id."""

    def __init__(
        self,
        spec: ToolSpec,
        sandbox: Sandbox,
        source: str,
        *,
        source_type: SourceType = "python",
        requirements: tuple[str, ...] = (),
        variables: MappingProxyType[str, str] = MappingProxyType({}),
    ) -> None:
        self.spec = spec
        self._sandbox = sandbox
        self._source = source
        self._source_type: SourceType = source_type
        self._requirements = requirements
        self._variables = variables

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutcome:
        """Whatever the tool does, and a machine that cannot confine it, are outcomes."""
        request = SandboxRequest(
            source=self._source,
            function=self.spec.name,
            arguments=arguments,
            source_type=self._source_type,
            requirements=self._requirements,
            environment=MappingProxyType({**self._variables, "LETTA_AGENT_ID": context.agent_id}),
        )
        try:
            outcome = await self._sandbox.run(request)
        except SandboxUnavailable as error:
            return ToolOutcome(content=f"Error executing function {self.spec.name}: {error}", status="error")
        return tool_outcome(self.spec.name, outcome)


def tool_outcome(name: str, outcome: SandboxOutcome) -> ToolOutcome:
    """The call as the model is told of it: a text as it is, anything else as Python writes it."""
    stdout = (outcome.stdout,) if outcome.stdout else ()
    if outcome.status == "success":
        content = outcome.result if isinstance(outcome.result, str) else str(outcome.result)
        return ToolOutcome(content=content, stdout=stdout, stderr=(outcome.stderr,) if outcome.stderr else ())
    stderr = f"{outcome.stderr}{outcome.traceback or ''}"
    content = f"Error executing function {name}: {outcome.error}"
    return ToolOutcome(content=content, status="error", stdout=stdout, stderr=(stderr,) if stderr else ())
