"""A Slurm of two nodes on one host, as long as a test lasts: its own key, ports and folder, and no root.

It needs Debian's ``slurm-wlm`` and ``munge`` (elsewhere: Slurm built with ``--enable-multiple-slurmd``).
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
NODES = ("n1", "n2")

CONFIGURATION = """\
ClusterName=onehost
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=1
JobRequeue=1
KillWait=2
SlurmdTimeout=20
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=16000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=16000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if not _path(name)]


def _path(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


class Slurm:
    """Slurm's daemons; a context that ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": paths}
        self._daemons: list[subprocess.Popen] = []

    def __enter__(self) -> Slurm:
        # A socket's path has a limit of about a hundred bytes, and munge wants no other writers above it.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(exist_ok=True)
        text = CONFIGURATION.format(
            host=socket.gethostname().split(".")[0], user=getpass.getuser(), folder=self.folder, ports=_ports(3)
        )
        (self.folder / "slurm.conf").write_text(text)
        # Snakemake's plugin starts srun without SLURM_CONF, which a Slurm in its usual place does not need.
        srun = self.folder / "bin" / "srun"
        srun.parent.mkdir(exist_ok=True)
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {_path("srun")} "$@"\n')
        srun.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        files = {"key": "key", "socket": "socket", "pid": "pid", "log": "log", "seed": "seed"}
        munge = [f"--{'key-file' if k == 'key' else k if k == 'socket' else k + '-file'}={self.folder}/munge.{v}"
                 for k, v in files.items()]  # fmt: skip
        try:
            self._start("munged", "--foreground", "--force", *munge)
            self._until(lambda: (self.folder / "munge.socket").exists(), "munge")
            self._start("slurmctld", "-D")
            for node in NODES:
                self._start("slurmd", "-D", "-N", node)
            self._until(lambda: self.states() == dict.fromkeys(NODES, "idle"), "the nodes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / "daemons.log").open("a") as log:
            command = [_path(name) or name, *arguments]
            self._daemons.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def _until(self, there, what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not there():
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not start: see {self.folder}/*.log")
            time.sleep(0.2)

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands says."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.stdout.strip()

    def states(self) -> dict[str, str]:
        """Every node's state."""
        lines = self.ask("sinfo", "-h", "-N", "-o", "%N %t").splitlines()
        return dict(line.split() for line in lines)

    def where(self) -> list[list[str]]:
        """The running jobs: number, node, and the comment, with which Snakemake says what a job is."""
        return [line.split(" ", 2) for line in self.ask("squeue", "-h", "-t", "R", "-o", "%i %N %k").splitlines()]

    def take_down(self, node: str) -> None:
        """Take a node away under its job: Slurm ends what runs there, and puts it back into the queue."""
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=taken")


def _ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
