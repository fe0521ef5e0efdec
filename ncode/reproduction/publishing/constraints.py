"""Write constraints.txt anew: what pip installs today, in an environment that no constraint holds back."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HEADER = "# What was tested, exactly. Every environment is made under these. `make constraints` writes them.\n"
# What PyTorch's builds for one or the other accelerator bring along: they pin it themselves.
_BUILD = re.compile(r"nvidia-|triton|cuda-|ncode\b|-e |pip==|setuptools==")


def pins(frozen: str) -> list[str]:
    """The pins in the output of ``pip freeze``, without the label of a local build (``+cpu``)."""
    lines = [line.strip() for line in frozen.splitlines()]
    return [re.sub(r"\+[\w.]+$", "", line) for line in lines if "==" in line and not _BUILD.match(line)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"{ROOT}[cluster,test]"], check=True)
        frozen = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True)
    path = ROOT / "constraints.txt"
    path.write_text(HEADER + "\n".join(pins(frozen.stdout)) + "\n", encoding="utf-8")
    print(f"written: {path}. Run the tests and the book before committing it.", file=sys.stderr)


if __name__ == "__main__":
    main()
