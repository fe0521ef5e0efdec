"""What importing the library costs and brings in: torch, torchdiffeq, jaxtyping, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "ncode").rglob("*.py")
    if "reproduction" not in path.parts
)

BLOCKED = """
import sys
import jaxtyping, torch  # with what they need themselves
known = set(sys.modules)

class Refuses:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == "ncode" or top in {one.partition(".")[0] for one in known}:
            return None
        raise ImportError(f"refused: {name}")

sys.meta_path.insert(0, Refuses())
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_no_core_module_imports_anything_but_torch_torchdiffeq_and_jaxtyping():
    """Not even torchdiffeq, and with it scipy, before a solve asks for it."""
    done = run(BLOCKED + "".join(f"import {name}\n" for name in CORE))
    assert len(CORE) > 20 and done.returncode == 0, done.stderr


def test_the_core_never_imports_the_reproduction():
    done = run(
        f"import sys\n{''.join(f'import {name}' + chr(10) for name in CORE)}"
        "assert not [name for name in sys.modules if name.startswith('ncode.reproduction')]"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "state",
    [
        "torch.get_default_dtype()",
        "torch.get_rng_state().tolist()",
        "torch.get_num_threads()",
        "torch.backends.cuda.matmul.allow_tf32",
        "torch.backends.cudnn.allow_tf32",
        "torch.get_float32_matmul_precision()",
        "dict(os.environ)",
        "list(warnings.filters)",
        "torch.is_grad_enabled()",
    ],
)
def test_importing_changes_no_global_state(state):
    done = run(f"import os, warnings, torch, jaxtyping\nbefore = {state}\nimport ncode\nassert before == {state}")
    assert done.returncode == 0, done.stderr
