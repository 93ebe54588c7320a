# The games or store of a benchmark, and fixed panels of its tasks. What is particular to a benchmark, its entry in
# `prism.core.benchmarks` and the class that it names say.


rule catalog:
    output:
        directory("<results>/data/{benchmark}/catalog"),
    log:
        "<logs>/data/{benchmark}/catalog.log",
    benchmark:
        "<benchmarks>/catalog/{benchmark}.tsv"
    wildcard_constraints:
        benchmark=only(DATA.catalogs()),
    conda:
        "../envs/cpu.yaml"
    params:
        recipe=lambda wildcards: recipe("catalog", wildcards.benchmark),
        version=STAGE_VERSIONS["games"],
    message:
        "catalog of {wildcards.benchmark}, generated"
    shell:
        "PRISM_LOG={log} python -m prism stage catalog {wildcards.benchmark} --recipe {params.recipe:q} --out {output}"


rule games:
    input:
        catalog=lambda wildcards: DATA.catalog(wildcards.benchmark),
        fetched=lambda wildcards: DATA.fetched(wildcards.benchmark),
    output:
        directory("<results>/data/{benchmark}/games"),
    log:
        "<logs>/data/{benchmark}/games.log",
    benchmark:
        "<benchmarks>/games/{benchmark}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        files=lambda wildcards, input: DATA.games_files(
            wildcards.benchmark, input.catalog
        ),
        recipe=lambda wildcards: DATA.games_recipe(wildcards.benchmark),
        version=STAGE_VERSIONS["games"],
    message:
        "games of {wildcards.benchmark}"
    shell:
        "PRISM_LOG={log} python -m prism stage games {wildcards.benchmark} {params.files} {params.recipe} --out {output}"


rule panel:
    input:
        games="<results>/data/{benchmark}/games",
        trajectories=lambda wildcards: DATA.panel_corpus(**wildcards),
    output:
        "<results>/data/{benchmark}/panels/{panel}.json",
    log:
        "<logs>/data/{benchmark}/panels/{panel}.log",
    benchmark:
        "<benchmarks>/panel/{benchmark}/{panel}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("panels", others=DATA.task_code),
        corpus=lambda wildcards, input: (
            f"--trajectories {input.trajectories}" if input.trajectories else ""
        ),
        recipe=lambda wildcards: recipe("panel", wildcards.benchmark, wildcards.panel),
    message:
        "panel {wildcards.panel} of {wildcards.benchmark}: a fixed list of tasks"
    shell:
        "PRISM_LOG={log} python -m prism stage panel {wildcards.benchmark} --games {input.games} {params.corpus}"
        " --split {wildcards.panel} --recipe {params.recipe:q} --out {output}"
