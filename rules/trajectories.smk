# The corpus of a benchmark: its own expert's trajectories, those of ETO played again, or a file of the user's; and how
# many of its prompts are too long.


rule corpus:
    input:
        lambda wildcards: config["benchmarks"][wildcards.benchmark]["trajectories_file"],
    output:
        trajectories="<results>/data/{benchmark}/trajectories.jsonl",
        manifest="<results>/data/{benchmark}/trajectories.json",
    log:
        "<logs>/data/{benchmark}/trajectories.log",
    benchmark:
        "<benchmarks>/corpus/{benchmark}.tsv"
    wildcard_constraints:
        benchmark=only(DATA.corpora("file")),
    conda:
        "../envs/cpu.yaml"
    params:
        version=STAGE_VERSIONS["trajectories"],
    message:
        "trajectories: {input}"
    shell:
        "PRISM_LOG={log} python -m prism stage import-trajectories {input:q} --out {output.trajectories}"
        " --manifest {output.manifest}"


rule expert_trajectories:
    input:
        games="<results>/data/{benchmark}/games",
    output:
        trajectories="<results>/data/{benchmark}/trajectories.jsonl",
        manifest="<results>/data/{benchmark}/trajectories.json",
    log:
        "<logs>/data/{benchmark}/trajectories.log",
    benchmark:
        "<benchmarks>/expert_trajectories/{benchmark}.tsv"
    wildcard_constraints:
        benchmark=only(DATA.corpora("expert")),
    conda:
        "../envs/cpu.yaml"
    threads: lambda wildcards: 2 if BENCHMARKS[wildcards.benchmark].in_processes else 1
    params:
        recipe=lambda wildcards: recipe("expert", wildcards.benchmark),
        version=STAGE_VERSIONS["trajectories"],
    message:
        "trajectories: the expert of {wildcards.benchmark} plays training tasks"
    shell:
        "PRISM_LOG={log} python -m prism stage trajectories {wildcards.benchmark} --games {input.games}"
        " --recipe {params.recipe:q} --workers {threads}"
        " --out {output.trajectories} --manifest {output.manifest}"


rule eto_trajectories:
    input:
        fetched="<results>/fetch/eto.json",
        games="<results>/data/{benchmark}/games",
    output:
        trajectories="<results>/data/{benchmark}/trajectories.jsonl",
        manifest="<results>/data/{benchmark}/trajectories.json",
    log:
        "<logs>/data/{benchmark}/trajectories.log",
    benchmark:
        "<benchmarks>/eto_trajectories/{benchmark}.tsv"
    wildcard_constraints:
        benchmark=only(DATA.corpora("eto")),
    conda:
        "../envs/cpu.yaml"
    threads: lambda wildcards: 4 if BENCHMARKS[wildcards.benchmark].in_processes else 1
    params:
        source=lambda wildcards: DATA.eto_file(wildcards.benchmark),
        recipe=lambda wildcards: recipe("eto", wildcards.benchmark),
        version=STAGE_VERSIONS["trajectories"],
    message:
        "trajectories: ETO's conversations, played again in {wildcards.benchmark}"
    shell:
        "PRISM_LOG={log} python -m prism stage eto-trajectories {wildcards.benchmark} --source {params.source:q}"
        " --games {input.games} --recipe {params.recipe:q} --workers {threads}"
        " --out {output.trajectories} --manifest {output.manifest}"


rule prompt_lengths:
    input:
        model="<results>/backbones/{backbone}",
        trajectories="<results>/data/{benchmark}/trajectories.jsonl",
    output:
        "<results>/data/{benchmark}/prompts/{backbone}.json",
    log:
        "<logs>/data/{benchmark}/prompts/{backbone}.log",
    benchmark:
        "<benchmarks>/prompt_lengths/{benchmark}/{backbone}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("prompt_lengths"),
        recipe=lambda wildcards: recipe("prompt", wildcards.benchmark),
    message:
        "prompts of {wildcards.benchmark} that are too long for {wildcards.backbone}"
    shell:
        "PRISM_LOG={log} python -m prism stage prompt-lengths --model {input.model} --trajectories {input.trajectories}"
        " --recipe {params.recipe:q} --out {output}"
