"""A program that trains a run of each of several experiments, whole and again with kills, and prints what came of both.

Its processes are forks of one that has imported everything, and die after a number of calls: of the optimiser's steps,
of what writes a checkpoint, weights or a record, and of anything, in turn.
"""

import contextlib
import inspect
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path

import dying
import torch

from ncode import training
from ncode.reproduction.experiments import annuli, autoencoding, image_classification, reflection, van_der_pol
from ncode.reproduction.runs import verify
from ncode.reproduction.runs.experiment import CHECKPOINT, named
from ncode.reproduction.runs.files import digest

CONFIGS = [
    reflection.Config("open", 0, iterations=20),
    annuli.Config("closed", 0, iterations=16, evaluate_every=4),
    autoencoding.Config("ncode", 0, images=64, width=0.1, latent=4, epochs=3, batch=16, looks=3),
    image_classification.Config("open", 0, size=5, filters=3, images=64, epochs=3, batch=16, looks=3),
    van_der_pol.Config("open", 0, iterations=20),
]


def fork(folder: Path, config, dies_at: int, of: str | None) -> tuple[int, int]:
    """Make a run in a process of its own. Returns its number of calls, and the signal that ended it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.environ["NCODE_RUNS"] = str(folder)
            dying.after(dies_at, of)
            family(config).run(config)
            os.write(writing, str(dying.end()).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with open(reading) as said:
        calls = said.read()
    status = os.waitpid(child, 0)[1]
    if status and not os.WIFSIGNALED(status):
        raise SystemExit(f"{config} failed")
    return int(calls or 0), os.WTERMSIG(status)


def family(config):
    return named(type(config).__module__.split(".")[-2])


def made(folder: Path) -> dict:
    """What is kept of a run, but for what tells the time, and the commit, which somebody may make meanwhile."""
    (path,) = folder.glob("*/*/record.json")
    content = json.loads(path.read_text())
    del content["sha256"], content["history"]["seconds"]
    for fact in ("seconds", "started", "commit"):
        del content["provenance"][fact]
    return content | {"weights": digest(path.with_name("weights.safetensors"))}


def different(whole, broken, where: str = "") -> list[str]:
    """Where two records differ, and how."""
    if isinstance(whole, dict) and isinstance(broken, dict):
        keys = sorted(whole.keys() | broken.keys())
        return [found for key in keys for found in different(whole.get(key), broken.get(key), f"{where}/{key}")]
    return [] if whole == broken else [f"{where}: {whole!r:.200} is not {broken!r:.200}"]


def main(kills: int, folder: Path) -> None:
    torch.set_num_threads(1)
    inspect.unwrap(training.fit).__kwdefaults__["checkpoint_every"] = 2
    sys.modules[autoencoding.experiment.train.__module__].CHECKPOINT_EVERY = 2
    for config in CONFIGS:
        name = family(config).name
        whole, broken, rng = folder / name / "whole", folder / name / "broken", random.Random(name)
        calls, _ = fork(whole, config, 0, None)
        told, wrong = Counter(), []
        while told["killed"] < kills or broken.exists():
            moment = [
                (rng.randint(5, 9), "step"),
                (rng.randint(2, 3), rng.choice(["save", "write_atomically", "write"])),
                (rng.randint(1, calls), None),
            ][told["killed"] % 3]
            told["resumed"] += any(broken.rglob(f"{CHECKPOINT}*"))
            _, by = fork(broken, config, *(moment if told["killed"] < kills else (0, None)))
            told["killed"] += by == signal.SIGKILL
            if not by:
                told["finished"] += 1
                wrong += different(made(whole), made(broken)) + [str(finding) for finding in verify.of_runs(broken)]
                shutil.rmtree(broken)
        print(json.dumps({"experiment": name, **told, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    with contextlib.redirect_stderr(sys.stdout):
        main(int(sys.argv[1]), Path(sys.argv[2]))
