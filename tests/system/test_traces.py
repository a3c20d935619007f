"""One request from the first byte to Terraform: one trace at the collector, one request id in the logs of every process."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.stack import eventually, running

SECRET = "not-for-anybody-to-read"


@dataclass
class Collector:
    """What an OTLP endpoint was sent: (part, span) pairs, and with what headers."""

    endpoint: str = ""
    spans: list[tuple[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def names(self, trace_id: bytes) -> set[tuple[str, str]]:
        return {(part, span.name) for part, span in list(self.spans) if span.trace_id == trace_id}


@contextmanager
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest()
            sent.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            found.keys.add(f"{self.path} {self.headers['x-key']}")
            for of in sent.resource_spans:
                part = next(a.value.string_value for a in of.resource.attributes if a.key == "tpm.part")
                found.spans += [(part, span) for scope in of.scope_spans for span in scope.spans]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def test_a_request_is_one_trace_and_one_id_from_http_to_terraform() -> None:
    with collector() as sent, running(OTEL_EXPORTER_OTLP_ENDPOINT=sent.endpoint, OTEL_EXPORTER_OTLP_HEADERS=f"x-key={SECRET}") as stack:
        api, request_id = stack.api(), "trace-me-0123456789"
        answer = api.call("POST", "/api/servers/async", {"name": "traced", "template": "ubuntu-24.04"}, {"X-Request-ID": request_id})
        assert (answer.status, answer.headers["X-Request-ID"]) == (202, request_id)
        api.wait_run(answer.json["run_id"], "applied")
        asked = eventually(lambda: [s for part, s in list(sent.spans) if (part, s.name) == ("web", "POST /api/servers/async")], 30, "the request's span")[0]
        wanted = {
            ("web", "POST /api/servers/async"), ("worker", "runs.execute"), ("runner", "run"), ("runner", "terraform plan"),
            ("runner", "terraform apply"), ("runner", "server"), ("runner", "proxmox"),
        }  # fmt: skip
        eventually(lambda: wanted <= sent.names(asked.trace_id), 30, f"{wanted}; there are {sent.names(asked.trace_id)}")
        by_id = {span.span_id: span.name for _, span in sent.spans}
        [run] = [span for _, span in sent.spans if span.trace_id == asked.trace_id and span.name == "run"]
        [apply] = [span for _, span in sent.spans if span.trace_id == asked.trace_id and span.name == "terraform apply"]
        assert by_id[apply.parent_span_id] == "run" and run.parent_span_id in by_id
        assert sent.keys == {f"/v1/traces {SECRET}"}

        log = stack.data_dir / "log"
        lines = {name: [json.loads(line) for line in (log / name).read_text("utf-8").splitlines() if line.startswith("{")] for name in ("worker.log", "runs/1-1.log")}
        started = next(line for line in lines["worker.log"] if line["event"] == "runner_started")
        assert (started["request_id"], started["run_id"], started["task_id"]) == (request_id, 1, answer.json["task_id"])
        assert {(line["request_id"], line["run_id"], line["task_id"]) for line in lines["runs/1-1.log"]} == {(request_id, 1, answer.json["task_id"])}
        assert not [path.name for path in log.rglob("*.log") if SECRET in path.read_text("utf-8")]
