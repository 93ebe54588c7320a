# Concentration scores: Gini, kurtosis, CV (eq. 5-7), L2, their normalised variants, seeded random scores. A quantile of
# one sends the trajectories at or below it to SFT, the others to RL (eq. 2-3). Beside them, how far three of them agree.
for module, command in [("scores", "score"), ("consensus", "stage consensus")]:

    rule:
        name:
            module
        input:
            norms=lambda w: INPUTS.norms(w.benchmark, w.backbone, w.of),
        output:
            f"<results>/{module}{{of}}/{{benchmark}}/{{backbone}}.{'csv' if command == 'score' else 'json'}",
        log:
            f"<logs>/{module}{{of}}/{{benchmark}}/{{backbone}}.log",
        benchmark:
            f"<benchmarks>/{module}{{of}}/{{benchmark}}/{{backbone}}.tsv"
        conda:
            "../envs/cpu.yaml"
        params:
            command=command,
            code=code(module),
            recipe=recipe("scores"),
        message:
            f"{module}: {{wildcards.benchmark}} under {{wildcards.backbone}}"
        shell:
            "PRISM_LOG={log} python -m prism {params.command} {input.norms} --recipe {params.recipe:q} --out {output}"


# tables of scores or norms alone: does normalising change the ranking (appendix G); who changes sides, probed after SFT
for table, module, files, more in (
    ("appendix_g", "sensitivity", INPUTS.scored("appendix_g"), []),
    ("reprobe", "compare_probes", INPUTS.reprobed(), ["_trajectories"]),
):

    rule:
        name:
            module
        input:
            files,
        output:
            table=report(
                f"<results>/tables/{table}.csv",
                caption=f"../report/{table}.rst",
                category="Tables",
            ),
            more=[f"<results>/tables/{table}{ending}.csv" for ending in more],
        log:
            f"<logs>/tables/{table}.log",
        benchmark:
            f"<benchmarks>/{module}/{table}.tsv"
        localrule: True
        conda:
            "../envs/cpu.yaml"
        params:
            stage=module.replace("_", "-"),
            code=code(module),
            scale=config["scale"],
            recipe=[f"--recipe={recipe('scores')}"] if more else [],
        message:
            f"table {table}"
        shell:
            "PRISM_LOG={log} python -m prism stage {params.stage} {input} {params.recipe:q} --scale {params.scale}"
            " --out {output.table}"


rule split:
    input:
        scores=lambda w: RESULTS.source_of_score(w.score, w.benchmark, w.backbone),
    output:
        "<results>/splits/{benchmark}/{backbone}/{score}-{percent}.csv",
    log:
        "<logs>/splits/{benchmark}/{backbone}/{score}-{percent}.log",
    benchmark:
        "<benchmarks>/split/{benchmark}/{backbone}/{score}-{percent}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("splits"),
    message:
        "split: {wildcards.percent}% to RL by {wildcards.score}"
    shell:
        "PRISM_LOG={log} python -m prism stage split {input.scores} --score {wildcards.score}"
        " --rl-percent {wildcards.percent} --out {output}"
