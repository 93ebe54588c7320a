# Reinforcement learning on a subset's tasks with verl, from the backbone or from an SFT checkpoint.


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
