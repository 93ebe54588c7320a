# Raw data of ALFWorld: games, expert trajectories played in the real engine, fixed panels of tasks.
import shlex

ALFWORLD = config["benchmarks"]["alfworld"]


rule alfworld_games:
    input:
        fetched("alfworld"),
    output:
        directory("<results>/data/alfworld/games"),
    log:
        "<logs>/data/alfworld/games.log",
    benchmark:
        "<benchmarks>/alfworld_games/games.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        source=(
            f"--source dataset --data-dir {shlex.quote(ALFWORLD['data_dir'])}"
            if ALFWORLD["source"] == "dataset"
            else f"--recipe '{recipe('games')}'"
        ),
        version=STAGE_VERSIONS["games"],
    message:
        "games of ALFWorld"
    shell:
        "PRISM_LOG={log} python -m prism stage games {params.source} --out {output}"


if ALFWORLD["trajectories_file"]:

    rule alfworld_corpus:
        input:
            ALFWORLD["trajectories_file"],
        output:
            trajectories="<results>/data/alfworld/trajectories.jsonl",
            manifest="<results>/data/alfworld/trajectories.json",
        log:
            "<logs>/data/alfworld/trajectories.log",
        benchmark:
            "<benchmarks>/alfworld_corpus/trajectories.tsv"
        conda:
            "../envs/cpu.yaml"
        params:
            version=STAGE_VERSIONS["trajectories"],
        message:
            "trajectories: {input}"
        shell:
            "PRISM_LOG={log} python -m prism stage import-trajectories {input:q} --out {output.trajectories}"
            " --manifest {output.manifest}"

elif not INPUTS.plays_eto("alfworld"):

    rule alfworld_trajectories:
        input:
            games="<results>/data/alfworld/games",
        output:
            trajectories="<results>/data/alfworld/trajectories.jsonl",
            manifest="<results>/data/alfworld/trajectories.json",
        log:
            "<logs>/data/alfworld/trajectories.log",
        benchmark:
            "<benchmarks>/alfworld_trajectories/trajectories.tsv"
        conda:
            "../envs/cpu.yaml"
        threads: 2
        params:
            recipe=recipe("expert", "alfworld"),
            version=STAGE_VERSIONS["trajectories"],
        message:
            "trajectories: the expert plays every training game"
        shell:
            "PRISM_LOG={log} python -m prism stage trajectories --games {input.games} --recipe {params.recipe:q}"
            " --workers {threads}"
            " --out {output.trajectories} --manifest {output.manifest}"


rule alfworld_training_panel:
    input:
        games="<results>/data/alfworld/games",
        trajectories="<results>/data/alfworld/trajectories.jsonl",
    output:
        "<results>/data/alfworld/panels/train.json",
    log:
        "<logs>/data/alfworld/panels/train.log",
    benchmark:
        "<benchmarks>/alfworld_panel/train.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("panels"),
    message:
        "panel train: the tasks that have a trajectory"
    shell:
        "PRISM_LOG={log} python -m prism stage panel --games {input.games} --trajectories {input.trajectories}"
        " --split train --out {output}"


rule alfworld_panel:
    input:
        games="<results>/data/alfworld/games",
    output:
        "<results>/data/alfworld/panels/{panel}.json",
    log:
        "<logs>/data/alfworld/panels/{panel}.log",
    benchmark:
        "<benchmarks>/alfworld_panel/{panel}.tsv"
    wildcard_constraints:
        panel="seen|unseen",
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("panels"),
        recipe=lambda wildcards: recipe("panel", "alfworld", wildcards.panel),
    message:
        "panel {wildcards.panel}: a fixed list of tasks"
    shell:
        "PRISM_LOG={log} python -m prism stage panel --games {input.games} --split {wildcards.panel}"
        " --recipe {params.recipe:q} --out {output}"


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
