# Small jobs that go wrong in every way that a cluster knows, under the profile's own settings. Each leaves a line with
# its SLURM job, attempt, node and GPUs, so that the test can count what really ran.
FOLDER = config["folder"]


def report(name):
    """Shell text that records one start of a job."""
    return f"echo $SLURM_JOB_ID {{resources.attempt_number}} $SLURMD_NODENAME $(printenv CUDA_VISIBLE_DEVICES || echo none) >> {FOLDER}/{name}.starts; "


def number_of(wildcards, attempt):
    """The attempt, so that a job can behave well the second time."""
    return attempt


rule all:
    input:
        expand(
            f"{FOLDER}/{{name}}.txt",
            name=["exits", "outgrows", "overstays", "cancelled", "orphaned"],
        ),
        expand(f"{FOLDER}/gpu-{{index}}.txt", index=range(2)),


rule exits:
    output:
        f"{FOLDER}/exits.txt",
    resources:
        attempt_number=number_of,
        mem_mb=1000,
    shell:
        report("exits") + "test {resources.attempt_number} -gt 1 && touch {output}"


rule outgrows:
    output:
        f"{FOLDER}/outgrows.txt",
    resources:
        attempt_number=number_of,
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
    shell:
        report("outgrows")
        + "python -c 'import time; block = bytearray(1200 * 2**20); time.sleep(8)' && touch {output}"


rule overstays:
    output:
        f"{FOLDER}/overstays.txt",
    resources:
        attempt_number=number_of,
        mem_mb=1000,
        runtime=lambda wildcards, attempt: attempt,
    shell:
        report("overstays")
        + "test {resources.attempt_number} -gt 1 || sleep 600; touch {output}"


rule cancelled:
    output:
        f"{FOLDER}/cancelled.txt",
    resources:
        attempt_number=number_of,
        mem_mb=1000,
    shell:
        report("cancelled")
        + "test {resources.attempt_number} -gt 1 || sleep 600; touch {output}"


# on a node of its own, so that no other job dies with it
rule orphaned:
    output:
        f"{FOLDER}/orphaned.txt",
    resources:
        slurm_extra="--nodelist=gpu02",
        attempt_number=number_of,
        mem_mb=1000,
    shell:
        report("orphaned")
        + "test $(wc -l < "
        + f"{FOLDER}/orphaned.starts"
        + ") -gt 1 || sleep 600; touch {output}"


rule gpu:
    output:
        f"{FOLDER}/gpu-{{index}}.txt",
    resources:
        attempt_number=number_of,
        mem_mb=1000,
        gres="gpu:a100:4",
    shell:
        report("gpu-{wildcards.index}") + "sleep 8; touch {output}"


# one whose output the disk shows late where Snakemake runs
rule late:
    output:
        f"{FOLDER}/late.txt",
    resources:
        attempt_number=number_of,
        mem_mb=1000,
    shell:
        report("late") + "touch {output}"


# two jobs that outlive the Snakemake that submitted them, and one that waits for them
rule survivor:
    output:
        f"{FOLDER}/survivor-{{index}}.txt",
    resources:
        attempt_number=number_of,
        mem_mb=1000,
    shell:
        report("survivor-{wildcards.index}")
        + "sleep $((4 + 8 * {wildcards.index})); touch {output}"


rule after_survivors:
    input:
        expand(f"{FOLDER}/survivor-{{index}}.txt", index=[0, 1]),
    output:
        f"{FOLDER}/after.txt",
    resources:
        attempt_number=number_of,
        mem_mb=1000,
    shell:
        report("after") + "touch {output}"
