"""Execute one notebook: Jupytext to .ipynb, papermill, and cleaning.

python -m ncode.reproduction.publishing.execute notebooks/05_reflection.py _build/smoke/executed/05_reflection.ipynb
--profile smoke
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

# The settings under which every notebook runs, here and nowhere else.
ENVIRONMENT = {
    # Notebooks run side by side: with one thread each they do not fight for cores, and the same sums are
    # taken in the same order whatever runs beside them.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc gives every large block back to the system when it is freed, and asks for it again, page fault
    # by page fault, at the next solver step. Blocks up to 32 MiB, its own limit, it now keeps: 1 GiB in all.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    # A progress bar is for somebody who waits; on a page it is noise.
    "TQDM_DISABLE": "1",
}

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}

# Finished training runs: one place for every profile, kept from one build to the next.
RUNS = Path("_build/runs")


class QuietKernelManager(AsyncKernelManager):
    """A kernel that does not warn, at every start, that it talks to this machine over an unencrypted port."""

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        return super().format_kernel_cmd([*(extra_arguments or []), "--log-level=ERROR"])


def execute(source: Path, executed: Path, profile: str) -> str | None:
    """Execute ``source`` (py:percent) in ``profile`` and write it, cleaned, to ``executed``.

    The kernel starts in an empty folder: a notebook runs from anywhere, with only the package installed.

    Returns:
        ``None``, or what went wrong: notebook, cell, error, and the path of the partial notebook.
    """
    os.environ.update(ENVIRONMENT)
    os.environ.setdefault("NCODE_RUNS", str(RUNS.absolute()))
    failed = executed.parents[1] / "failed"
    partial, report = failed / executed.name, failed / f"{source.stem}.txt"
    failed.mkdir(parents=True, exist_ok=True)
    executed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        unexecuted = Path(folder) / executed.name
        notebook = jupytext.read(source)
        notebook.metadata.setdefault("kernelspec", KERNEL)
        nbformat.write(notebook, unexecuted)
        work = Path(folder) / "work"
        work.mkdir()
        try:
            papermill.execute_notebook(
                str(unexecuted),
                str(partial.absolute()),
                parameters={"profile": profile},
                kernel_name="python3",
                kernel_manager_class=QuietKernelManager,
                cwd=str(work),
                progress_bar=False,
            )
        except (PapermillExecutionError, DeadKernelError) as error:
            report.write_text(_message(source, error, partial), encoding="utf-8")
            return report.read_text(encoding="utf-8")
    notebook = clean(nbformat.read(partial, as_version=4))
    temporary = executed.with_suffix(".writing")
    nbformat.write(notebook, temporary)
    temporary.replace(executed)
    partial.unlink()
    report.unlink(missing_ok=True)
    return None


def _message(source: Path, error: Exception, partial: Path) -> str:
    if isinstance(error, PapermillExecutionError):
        lines = [line for line in error.source.splitlines() if line.strip()]
        where = f"cell [{error.exec_count}], which begins {lines[0].strip()!r}" if lines else "an empty cell"
        what = f"{error.ename}: {error.evalue}".strip().rstrip(":")
    else:
        where, what = "the kernel", f"died (out of memory?): {error}"
    return f"{source}: {where}: {what}\n  the notebook, as far as it got: {partial.absolute()}\n"


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove what execution leaves behind and no reader needs.

    Papermill's metadata goes, and so do times of day. The values that it injected replace those of the
    parameters cell, so that the page shows what ran, once. Progress bars go; warnings stay, being news.
    """
    notebook.metadata.pop("papermill", None)
    kept = []
    parameters = None
    for cell in notebook.cells:
        for leftover in ("papermill", "execution"):
            cell.metadata.pop(leftover, None)
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags:
            parameters = cell
        if "injected-parameters" in tags and parameters is not None:
            parameters.source = _with_values(parameters.source, cell.source)
            parameters.execution_count = cell.execution_count
            continue
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
        kept.append(cell)
    notebook.cells = kept
    return notebook


def _with_values(source: str, injected: str) -> str:
    for name, value in re.findall(r"^(\w+) = (.+)$", injected, flags=re.MULTILINE):
        source = re.sub(rf"^{name}\s*=\s*[^#\n]*?(?=\s*(#|$))", f"{name} = {value}", source, flags=re.MULTILINE)
    return source


def _is_progress(output: nbformat.NotebookNode) -> bool:
    # A bar redraws its line with a carriage return; nothing else on stderr does.
    return output.output_type == "stream" and output.name == "stderr" and "\r" in output.text


def main() -> None:
    parser = argparse.ArgumentParser(description="Execute one notebook.")
    parser.add_argument("source", type=Path)
    parser.add_argument("executed", type=Path)
    parser.add_argument("--profile", required=True)
    arguments = parser.parse_args()
    print(f"executing {arguments.source} ({arguments.profile})", flush=True)
    failure = execute(arguments.source, arguments.executed, arguments.profile)
    if failure:
        print(f"failed: {failure}", flush=True)
        sys.exit(1)
    print(f"executed {arguments.source} ({arguments.profile})", flush=True)


if __name__ == "__main__":
    main()
