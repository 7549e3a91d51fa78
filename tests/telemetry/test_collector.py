"""The way to a collector: only where one is named, and never in the server's way."""

import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from structlog.testing import capture_logs

from tertulia.domain.runs import Run
from tertulia.ports.telemetry import RunBegan, RunEnded
from tertulia.telemetry.collector import ENDPOINTS, open_traces


class Collector:
    """Keeps what is exported to it."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, ExportTraceServiceRequest]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.taken.append((self.path, ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the inherited name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


def a_run() -> Run:
    return Run(
        id="run-1", agent_id="agent-1", conversation_id="conv-1", status="completed", created_at=datetime.now(UTC)
    )


def test_no_collector_is_spoken_to_that_nobody_named() -> None:
    assert open_traces(0) is None


def test_spans_reach_the_collector_that_the_standard_variable_names(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    traces = open_traces(2)
    assert traces is not None
    traces.telemetry(RunBegan(run=a_run(), agent_name="Ada", model="openai/gpt"))
    traces.telemetry(RunEnded(a_run()))
    traces.close()
    ((path, request),) = collector.taken
    assert path == "/v1/traces"
    (of_resource,) = request.resource_spans
    told = {pair.key: pair.value for pair in of_resource.resource.attributes}
    assert told["service.name"].string_value == "tertulia"
    assert told["tertulia.worker"].int_value == 2
    assert told["deployment.environment.name"].string_value == "test"
    assert [span.name for scope in of_resource.scope_spans for span in scope.spans] == ["invoke_agent Ada"]


def test_the_users_own_service_name_goes_before_ours(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/elsewhere")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "assistants")
    traces = open_traces(0)
    assert traces is not None
    traces.telemetry(RunBegan(run=a_run(), agent_name="Ada", model="openai/gpt"))
    traces.telemetry(RunEnded(a_run()))
    traces.close()
    ((path, request),) = collector.taken
    assert path == "/elsewhere"
    told = {pair.key: pair.value.string_value for pair in request.resource_spans[0].resource.attributes}
    assert told["service.name"] == "assistants"


@pytest.mark.parametrize("variable", ENDPOINTS)
def test_without_the_extra_the_log_says_what_to_install(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with capture_logs() as logs:
        assert open_traces(0) is None
    assert [(line["event"], line["variable"], line["hint"]) for line in logs] == [
        ("traces_not_sent", variable, "pip install 'tertulia[otel]'")
    ]
