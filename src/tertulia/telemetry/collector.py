"""Opens the way to an OpenTelemetry collector, where the standard variables name one."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from tertulia import __version__
from tertulia.ports.telemetry import Telemetry

_log = structlog.get_logger(__name__)

# Read by OpenTelemetry's own SDK too, with all the others that say how to reach a collector.
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

_LAST_SECONDS: Final = 3.0
"""What the last spans of a server get to reach the collector."""


@dataclass(frozen=True, slots=True)
class OpenTraces:
    """Who is told what happens, and what sends off the last spans and ends; it blocks while it does."""

    telemetry: Telemetry
    close: Callable[[], None]


def open_traces(worker: int) -> OpenTraces | None:
    """None where no collector is named, or what speaks to one is not installed."""
    variable = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if variable is None:
        return None
    try:
        # Servers without a collector load none of it.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        from tertulia.telemetry.spans import Spans  # noqa: PLC0415
    except ImportError:
        _log.warning("traces_not_sent", variable=variable, hint="pip install 'tertulia[otel]'")
        return None
    ours = {"service.name": "tertulia", "service.version": __version__, "tertulia.worker": worker}
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before ours.
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _log.info("traces_sent", variable=variable)

    def close() -> None:
        # Left alone after a while: a collector that does not answer must not keep the server from stopping.
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(_LAST_SECONDS)

    return OpenTraces(Spans(provider.get_tracer("tertulia", __version__)), close)
