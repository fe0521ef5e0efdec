"""What a job asks a Kubernetes of: a server that only notes the requests stands in its place. No pod ever runs here."""

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

pytest.importorskip("snakemake_executor_plugin_kubernetes")
pytest.importorskip("snakemake_storage_plugin_fs")

if shutil.which("rsync") is None:
    pytest.skip("rsync is not installed", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
JOB = {"experiment": "annuli.steering", "priority": 5, "minutes": 11, "memory": 1500, "code": "one", "runs": [0]}


class Noting(BaseHTTPRequestHandler):
    """Takes every object that it is given, and says that every job failed."""

    asked: list

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(given)
        self.answer(given)

    def do_GET(self):
        self.answer({"status": {"failed": 1}} if "/jobs/" in self.path else {"items": []})

    def do_DELETE(self):
        self.answer({})

    def answer(self, content):
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def asked(tmp_path, monkeypatch):
    noted = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (Noting,), {"asked": noted}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "one", "user": {"token": "none"}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "current-context": "one",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield noted
    server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [0, 1])
def test_a_pod_gets_the_folder_of_runs_the_memory_and_a_gpu_only_where_it_needs_one(asked, tmp_path, gpus):
    work = tmp_path / "work"
    shutil.copytree(ROOT / "workflow", work / "workflow")
    # Snakemake sends what git tracks below the working directory, and the configuration.
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=work, check=True)
    table = work / "queue.json"
    table.write_text(json.dumps({"queue": {"annuli_steering": {**JOB, "gpus": gpus}}}))
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", "workflow/queue.smk",
         "--profile", "workflow/profiles/kubernetes", "--configfile", "queue.json", "--retries", "0",
         "--container-image", "image", "--default-storage-provider", "fs",
         "--default-storage-prefix", str(tmp_path / "store"), "--seconds-between-status-checks", "1"],
        capture_output=True, text=True, cwd=work, env={**os.environ, "NCODE_RUNS": "/runs"}, timeout=200,
    )  # fmt: skip
    jobs = [one["spec"]["template"]["spec"] for one in asked if "template" in one.get("spec", {})]
    assert jobs, done.stderr
    pod, (container,) = jobs[0], jobs[0]["containers"]
    assert {"mountPath": "/runs", "name": "ncode-runs"} in container["volumeMounts"]
    assert {"name": "ncode-runs", "persistentVolumeClaim": {"claimName": "ncode-runs"}} in pod["volumes"]
    assert "NCODE_RUNS" in {variable["name"] for variable in container["env"]}
    wanted = container["resources"]["requests"]
    assert wanted["memory"] == "1500M" and wanted.get("nvidia.com/gpu") == ("1" if gpus else None)
    assert bool(pod.get("tolerations")) == bool(gpus)
