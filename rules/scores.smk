# Concentration scores: Gini, kurtosis, CV (eq. 5-7), L2, their normalised variants, seeded random scores. A quantile of
# one sends the trajectories at or below it to SFT, the others to RL (eq. 2-3). Beside them, how far three of them agree.
for module, command, ending in (
    ("scores", "score", "csv"),
    ("consensus", "stage consensus", "json"),
):

    rule:
        name:
            module
        input:
            norms=lambda w: INPUTS.norms(w.benchmark, w.backbone, w.of),
        output:
            f"<results>/{module}{{of}}/{{benchmark}}/{{backbone}}.{ending}",
        log:
            f"<logs>/{module}{{of}}/{{benchmark}}/{{backbone}}.log",
        benchmark:
            f"<benchmarks>/{module}{{of}}/{{benchmark}}/{{backbone}}.tsv"
        conda:
            "../envs/cpu.yaml"
        params:
            code=code(module),
            recipe=recipe("scores"),
        message:
            f"{module}: {{wildcards.benchmark}} under {{wildcards.backbone}}"
        shell:
            f"PRISM_LOG={{log}} python -m prism {command} {{input.norms}} --recipe {{params.recipe:q}} --out {{output}}"


# tables of scores or norms alone: module and command, files, what they answer
WHO = "probed again after SFT: who changes sides"
RANKING = "appendix G: does normalising the norms change the ranking?"
for table, module, files, more, question in (
    ("appendix_g", "sensitivity", INPUTS.scored("appendix_g"), [], RANKING),
    ("reprobe", "compare_probes", INPUTS.reprobed(), ["_trajectories"], WHO),
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
            code=code(module),
            scale=config["scale"],
            recipe=[f"--recipe={recipe('scores')}"] if more else [],
        message:
            question
        shell:
            f"PRISM_LOG={{log}} python -m prism stage {module.replace('_', '-')}"
            " {input} {params.recipe:q} --scale {params.scale} --out {output.table}"


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
