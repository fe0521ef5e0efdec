"""What is rebuilt from what: notebooks are executed, the book is built from those.

`make book` calls this. On a cluster, `snakemake --profile workflow/profiles/slurm --config profile=paper` does; where no
GPU is configured, add `--set-resources notebook:gpu=0`.
"""

import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from ncode.reproduction.publishing import archive, inputs
from ncode.reproduction.publishing.sync import repository_url
from ncode.reproduction.runs.sources import Sources

PROFILE = config.get("profile", "cpu")
BUILD = f"_build/{PROFILE}"
NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("[0-9]*.py"))
SOURCES = Sources(Path.cwd())
# The book shows the library's docstrings, the claims' texts and what recordings say of themselves.
SHOWN = sorted(str(path) for path in Path("ncode").rglob("*.*") if path.suffix != ".pyc")
RECORDED = sorted(str(path) for path in Path("results").glob("*.*"))
PAGES = sorted(str(path) for path in Path("book").rglob("*") if path.is_file() and path.suffix != ".pyc")

# In the profile `recorded`, the archive says whose settings count; another archive executes every notebook again.
ARCHIVE = archive.here() if PROFILE == "recorded" else None

# A published book that somebody deleted is built again, although its stamp is still there.
if not Path(BUILD, "html", "index.html").exists():
    Path(BUILD, "published").unlink(missing_ok=True)


def versions(*packages):
    """The installed versions, as a parameter: another version of what makes the numbers executes again."""
    return [f"{name} {metadata.version(name)}" for name in packages]


@cache
def fingerprints(name, profile):
    """What one notebook depends on, by kind."""
    return inputs.fingerprints(SOURCES, name, ARCHIVE.profile if ARCHIVE else profile)


def depends(kind):
    """One kind of what a notebook depends on, as a parameter: an edit executes the notebooks that it can change."""
    return lambda wildcards: fingerprints(wildcards.name, wildcards.profile)[kind]


localrules: book


rule book:
    input:
        f"{BUILD}/published"


rule notebook:
    input:
        notebook="notebooks/{name}.py",
    output:
        "_build/{profile}/executed/{name}.ipynb"
    params:
        versions=versions("torch", "torchdiffeq", "numpy", "scikit-learn", "matplotlib"),
        code=depends("code"),
        data=depends("data"),
        recordings=depends("recordings"),
        settings=depends("settings"),
        claims=depends("claims"),
        execution=depends("execution"),
        **({"archive": ARCHIVE.folder.name} if ARCHIVE else {}),
    # Binds only where Snakemake is told how many GPUs there are (the Makefile does).
    resources:
        gpu=1
    shell:
        "{sys.executable:q} -m ncode.reproduction.publishing.execute {input.notebook:q} {output:q}"
        " --profile {wildcards.profile:q}"


# The pages are not an output: Snakemake deletes a job's outputs before it runs the job, and the book that is
# out shall stay until a better one takes its place.
rule publish:
    input:
        notebooks=expand("_build/{{profile}}/executed/{name}.ipynb", name=NOTEBOOKS),
        pages=PAGES,
        library=SHOWN,
        recorded=RECORDED,
        settings=["_config.yml", "pyproject.toml"],
    output:
        touch("_build/{profile}/published")
    params:
        versions=versions("jupyter-book", "myst-nb", "sphinx-book-theme"),
        repository=repository_url(Path.cwd()),
    shell:
        "{sys.executable:q} -m ncode.reproduction.publishing.publish {wildcards.profile:q} {input.notebooks:q}"
