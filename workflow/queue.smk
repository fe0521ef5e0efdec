"""The queue of planned runs as jobs: each is one run of one recording, with the resources that it needs.

    ncode queue --write _build/queue.json --device cuda
    snakemake -s workflow/queue.smk --configfile _build/queue.json --profile workflow/profiles/slurm
    ncode collect

It imports nothing of the package: Snakemake reads a workflow again in every job. What a job makes lies where all runs
lie (`$NCODE_RUNS`), which every node must see; what is left here is a stamp. A job that is submitted again goes on from
its run's checkpoint.
"""

import sys

DONE = "_build/queue"
QUEUE = config["queue"]
THREADS = "OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TQDM_DISABLE=1"


rule queue:
    input:
        [f"{DONE}/{recording}/{index}" for recording, job in QUEUE.items() for index in job["runs"]],


for recording, job in QUEUE.items():

    rule:
        name:
            recording
        output:
            touch(f"{DONE}/{recording}/{{index}}"),
        wildcard_constraints:
            index=r"\d+",
        params:
            experiment=job["experiment"],
            recording=recording,
            code=job["code"],
            environment=THREADS if job["gpus"] else f"{THREADS} CUDA_VISIBLE_DEVICES=",
        priority: job["priority"]
        threads: 1
        retries: 3
        resources:
            # A run that ran out of memory needs more of it; one that ran out of time goes on.
            mem_mb=lambda wildcards, attempt, memory=job["memory"]: attempt * memory,
            runtime=job["minutes"],
            # To Kubernetes' executor even gpu=0 asks for a GPU.
            **({"gpu": job["gpus"]} if job["gpus"] else {}),
        shell:
            "{params.environment} {sys.executable:q} -m ncode.reproduction.runs one"
            " {params.experiment} {params.recording} {wildcards.index}"
