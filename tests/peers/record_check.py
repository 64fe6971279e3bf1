"""Reads a recorded run with the programs that people will: TensorBoard's own
accumulator, wandb's own messages, and `wandb sync` against a server on this
machine that takes down what arrives.

    python record_check.py RUN_FOLDER
"""

import gzip
import http.server
import json
import math
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import zlib

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto import wandb_internal_pb2

STEP = ["loss", "learning_rate", "gradient_norm", "tokens_per_s"]
EVALUATION = ["validation_loss", "perplexity"]
F32 = 1e-6  # TensorBoard's scalars are f32.


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def expected(run, name):
    return [(line["step"], line[name]) for line in lines(run / "metrics.jsonl") if name in line]


def close(a, b, bound):
    return math.isclose(a, b, rel_tol=bound, abs_tol=1e-12)


def check_tensorboard(run):
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    for name in STEP + EVALUATION:
        want = expected(run, name)
        got = [(scalar.step, scalar.value) for scalar in events.Scalars(name)] if want else []
        assert [s for s, _ in got] == [s for s, _ in want], f"TensorBoard: steps of {name}"
        assert all(close(a, b, F32) for (_, a), (_, b) in zip(got, want)), f"TensorBoard: {name}"
    samples = lines(run / "samples.jsonl")
    texts = events.Tensors("samples/text_summary") if samples else []
    for tensor, want in zip(texts, samples, strict=True):
        got = [text.decode() for text in tensor.tensor_proto.string_val]
        # A hashtag at the start is escaped, for the text plugin reads Markdown.
        shown = [d["text"].replace("#", "\\#", 1) if d["text"][:1] == "#" else d["text"] for d in want["drafts"]]
        assert (tensor.step, got) == (want["step"], shown), "TensorBoard: drafts"
    return len(expected(run, "loss")), len(samples)


def check_messages(log):
    """Every record of the log parses, and none has a field that wandb does not know."""
    data = log.read_bytes()
    assert data[:7] == b":W&B\xe1\xbe\x00", "the log's header"
    offset, record, count = 7, b"", 0
    while offset < len(data):
        room = 32768 - offset % 32768
        if room < 7:
            offset += room
            continue
        crc, length, kind = struct.unpack("<IHB", data[offset : offset + 7])
        body = data[offset + 7 : offset + 7 + length]
        assert zlib.crc32(bytes([kind]) + body) == crc, "a checksum of the log"
        record, offset = record + body, offset + 7 + length
        if kind in (1, 4):
            count += 1
            message = wandb_internal_pb2.Record.FromString(record)
            assert message.num == count and len(message.SerializeToString()) == len(record), "a record"
            record = b""
    return count


class Server(http.server.ThreadingHTTPServer):
    """Answers `wandb sync` as far as it asks, and keeps what it sends."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.history, self.config, self.files, self.exit_code, self.name = {}, {}, {}, None, None
        self.lock = threading.Lock()

    def handle_error(self, request, client_address):
        # wandb drops its connections when it is done.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def stream(self, body):
        with self.lock:
            history = body.get("files", {}).get("wandb-history.jsonl", {})
            for index, line in enumerate(history.get("content", []), history.get("offset", 0)):
                self.history[index] = json.loads(line)
            if body.get("complete"):
                self.exit_code = body.get("exitcode")

    def graphql(self, body, host):
        query, variables = body["query"], body.get("variables") or {}
        if "upsertBucket" in query:
            with self.lock:
                self.config.update(json.loads(variables.get("config") or "{}"))
                self.name = variables.get("displayName") or self.name
            project = {"id": "p", "name": variables.get("project"), "entity": {"id": "e", "name": "me"}}
            bucket = {
                "id": "b", "name": variables.get("name"), "displayName": variables.get("displayName"),
                "description": None, "config": variables.get("config"), "sweepName": None,
                "historyLineCount": 0, "project": project,
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles" in query:
            files = [{"name": f, "uploadUrl": f"http://{host}/upload/{f}"} for f in variables["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        return gzip.decompress(data) if self.headers.get("content-encoding") == "gzip" else data

    def answer(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = json.loads(self.body() or b"{}")
        if self.path.endswith("/graphql"):
            return self.answer({"data": self.server.graphql(body, self.headers["host"])})
        self.server.stream(body)
        self.answer({"exitcode": 0, "limits": {}})

    def do_PUT(self):
        data = self.body()
        with self.server.lock:
            self.server.files[self.path.removeprefix("/upload/")] = data
        self.answer({})

    def do_GET(self):
        self.answer({})


def check_sync(run, folder):
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as home:
        # A copy: `wandb sync` leaves a mark beside what it has sent.
        copy = shutil.copytree(folder, pathlib.Path(home) / folder.name)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
        environment |= {
            "HOME": home,
            "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}",
            "WANDB_API_KEY": "0" * 40,
            "WANDB_ERROR_REPORTING": "false",
        }
        program = pathlib.Path(sys.executable).parent / "wandb"
        result = subprocess.run(
            [program, "sync", copy], env=environment, cwd=home, capture_output=True, text=True, timeout=300
        )
        said = result.stdout + result.stderr
        assert result.returncode == 0 and "Finished syncing" in said and "ERROR" not in said, said
    server.shutdown()

    history = [server.history[index] for index in sorted(server.history)]
    for name in STEP + EVALUATION:
        got = [(line["_step"], line[name]) for line in history if name in line]
        want = expected(run, name)
        assert [s for s, _ in got] == [s for s, _ in want], f"wandb: steps of {name}"
        assert all(close(a, b, 1e-12) for (_, a), (_, b) in zip(got, want)), f"wandb: {name}"
    config = json.loads((run / "config.json").read_text())
    for name, value in config["hyper_parameters"].items():
        assert server.config[name]["value"] == value, f"wandb: config {name}"
    assert server.config["lineage"]["value"]["archives"] == config["lineage"]["archives"], "wandb: lineage"
    assert server.name == config["name"], "wandb: the run's name"
    summary = json.loads(server.files["wandb-summary.json"])
    for name, value in json.loads((run / "summary.json").read_text()).items():
        assert summary[name] == value, f"wandb: summary {name}"
    assert server.exit_code == 0, "wandb: the exit"
    tables = [json.loads(data) for path, data in server.files.items() if path.endswith(".table.json")]
    got = sorted(row for table in tables for row in table["data"])
    want = sorted([s["step"], d["prompt"], d["text"]] for s in lines(run / "samples.jsonl") for d in s["drafts"])
    assert got == want, "wandb: drafts"
    return len(history), len(tables)


def main():
    run = pathlib.Path(sys.argv[1])
    steps, samples = check_tensorboard(run)
    print(f"TensorBoard reads {steps} steps and {samples} sets of drafts")
    (folder,) = (run / "wandb").glob("offline-run-*")
    (log,) = folder.glob("run-*.wandb")
    print(f"wandb's messages read {check_messages(log)} records")
    steps, tables = check_sync(run, folder)
    print(f"wandb sync sent {steps} steps and {tables} tables, with config and summary")


if __name__ == "__main__":
    main()
