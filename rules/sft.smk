# Supervised fine-tuning on a subset with LLaMA-Factory. Named by what it is, so that methods share a checkpoint.


rule sft:
    input:
        model="<results>/backbones/{backbone}",
        trajectories="<results>/data/{benchmark}/trajectories.jsonl",
        split=lambda wildcards: RESULTS.split(
            wildcards.subset, wildcards.benchmark, wildcards.backbone
        ),
    output:
        directory("<results>/sft/{benchmark}/{backbone}/{subset}/seed{seed}"),
    log:
        "<logs>/sft/{benchmark}/{backbone}/{subset}/seed{seed}.log",
    benchmark:
        "<benchmarks>/sft/{benchmark}/{backbone}/{subset}/seed{seed}.tsv"
    conda:
        "../envs/sft.yaml"
    container:
        image("sft")
    threads: config["sft"].get("threads", 2)
    params:
        recipe=lambda wildcards: recipe("sft", wildcards.benchmark, wildcards.backbone),
        machine=lambda wildcards, threads: machine(
            "sft", wildcards.benchmark, wildcards.backbone
        ),
        subset=lambda wildcards, input: split_option(
            wildcards.subset, input.get("split")
        ),
        work=lambda wildcards, output: work_folder(output[0]),
        version=STAGE_VERSIONS["sft"],
    message:
        "SFT: {wildcards.backbone} on {wildcards.subset}, seed {wildcards.seed}"
    shell:
        "PRISM_LOG={log} python -m prism stage sft --model {input.model}"
        " --trajectories {input.trajectories} {params.subset}"
        " --recipe {params.recipe:q} --machine {params.machine:q} --seed {wildcards.seed}"
        " --work {params.work} --out {output}"
