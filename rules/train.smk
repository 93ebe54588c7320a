# Training on a subset: supervised fine-tuning with LLaMA-Factory, and reinforcement learning with verl from its checkpoint
# or from the backbone. Checkpoints are named by what they are, so that methods share them.


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


rule rl:
    input:
        model=lambda wildcards: RESULTS.initial(
            wildcards.init, wildcards.benchmark, wildcards.backbone, wildcards.seed
        ),
        games="<results>/data/{benchmark}/games",
        panel="<results>/data/{benchmark}/panels/train.json",
        split=lambda wildcards: RESULTS.split(
            wildcards.subset, wildcards.benchmark, wildcards.backbone
        ),
        # only to refuse their tasks: a panel of another size trains nothing anew
        evaluation_panels=lambda wildcards: [
            ancient(f"<results>/data/{wildcards.benchmark}/panels/{panel}.json")
            for panel in config["benchmarks"][wildcards.benchmark]["panels"]
        ],
    output:
        directory(
            "<results>/rl/{benchmark}/{backbone}/{init}--{algorithm}--{subset}/seed{seed}"
        ),
    log:
        "<logs>/rl/{benchmark}/{backbone}/{init}--{algorithm}--{subset}/seed{seed}.log",
    benchmark:
        "<benchmarks>/rl/{benchmark}/{backbone}/{init}--{algorithm}--{subset}/seed{seed}.tsv"
    conda:
        "../envs/rl.yaml"
    container:
        image("rl")
    threads: config["rl"].get("threads", 2)
    params:
        recipe=lambda wildcards: recipe("rl", wildcards.benchmark, wildcards.algorithm),
        machine=lambda wildcards, threads: machine(
            "rl", wildcards.benchmark, wildcards.algorithm
        ),
        subset=lambda wildcards, input: split_option(
            wildcards.subset, input.get("split")
        ),
        # a run refuses to train on a task that is evaluated on
        excluded=lambda wildcards, input: " ".join(
            f"--exclude-panel {path}" for path in input.evaluation_panels
        ),
        work=lambda wildcards, output: work_folder(output[0]),
        version=STAGE_VERSIONS["rl"],
    message:
        "RL: {wildcards.algorithm} on {wildcards.subset} from {wildcards.init}, seed {wildcards.seed}"
    shell:
        "PRISM_LOG={log} python -m prism stage rl --init {input.model} --games {input.games}"
        " --panel {input.panel} {params.excluded} {params.subset}"
        " --recipe {params.recipe:q} --machine {params.machine:q} --seed {wildcards.seed}"
        " --work {params.work} --out {output}"
