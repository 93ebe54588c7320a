# Figures, as svg for print and png for the screen. config["figures"] says what each is made of.
include: "inputs/figures.smk"


rule figure_case_study:
    input:
        norms=INPUTS.norms(
            config["figures"]["figure1"]["benchmark"],
            config["figures"]["figure1"]["backbones"][0],
        ),
        scores=figure_scores("figure1"),
        trajectories=f"<results>/data/{config['figures']['figure1']['benchmark']}/trajectories.jsonl",
        source=figure_sources("case_study", "scores_file"),
    output:
        svg=report(
            "<results>/figures/figure1.svg",
            caption="../report/figure1.rst",
            category="Figures",
            labels={"figure": "1: case study"},
        ),
        png="<results>/figures/figure1.png",
    log:
        "<logs>/figures/figure1.log",
    benchmark:
        "<benchmarks>/figure_case_study/figure1.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        scale=config["scale"],
    message:
        "figure 1: case study"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-case-study --scores {input.scores}"
        " --trajectories {input.trajectories}"
        " --scale {params.scale} --svg {output.svg} --png {output.png} {input.norms}"


rule figure_inverse_ablation:
    input:
        evaluations=figure_evaluations("figure3"),
        source=figure_sources("inverse_ablation", "evaluations"),
    output:
        svg=report(
            "<results>/figures/figure3.svg",
            caption="../report/figure3.rst",
            category="Figures",
            labels={"figure": "3: inverse ablation"},
        ),
        png="<results>/figures/figure3.png",
    log:
        "<logs>/figures/figure3.log",
    benchmark:
        "<benchmarks>/figure_inverse_ablation/figure3.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        evaluations=evaluation_options("figure3"),
        backbones=",".join(config["figures"]["figure3"]["backbones"]),
        scale=config["scale"],
    message:
        "figure 3: inverse ablation"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-inverse-ablation {params.evaluations} --backbones {params.backbones}"
        " --scale {params.scale} --svg {output.svg} --png {output.png}"


rule figure_ratio_sweep:
    input:
        evaluations=figure_evaluations("figure4"),
        source=figure_sources("ratio_sweep", "evaluations"),
    output:
        svg=report(
            "<results>/figures/figure4.svg",
            caption="../report/figure4.rst",
            category="Figures",
            labels={"figure": "4: ratio sweep"},
        ),
        png="<results>/figures/figure4.png",
    log:
        "<logs>/figures/figure4.log",
    benchmark:
        "<benchmarks>/figure_ratio_sweep/figure4.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        evaluations=evaluation_options("figure4"),
        backbone=config["figures"]["figure4"]["backbones"][0],
        shares=",".join(
            METHODS[method].shares()[1]
            for method in config["figures"]["figure4"]["methods"]
        ),
        scale=config["scale"],
    message:
        "figure 4: ratio sweep"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-ratio-sweep {params.evaluations} --backbone {params.backbone}"
        " --shares {params.shares} --scale {params.scale} --svg {output.svg} --png {output.png}"


rule figure_consensus:
    input:
        norms=INPUTS.norms(
            config["figures"]["figure5"]["benchmark"],
            config["figures"]["figure5"]["backbones"][0],
        ),
        source=figure_sources("consensus"),
    output:
        svg=report(
            "<results>/figures/figure5.svg",
            caption="../report/figure5.rst",
            category="Figures",
            labels={"figure": "5: consensus"},
        ),
        png="<results>/figures/figure5.png",
    log:
        "<logs>/figures/figure5.log",
    benchmark:
        "<benchmarks>/figure_consensus/figure5.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        title=f"{config['figures']['figure5']['benchmark']}, {config['figures']['figure5']['backbones'][0]}",
        scale=config["scale"],
    message:
        "figure 5: do the metrics agree?"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-consensus --title {params.title:q} --scale {params.scale}"
        " --svg {output.svg} --png {output.png} {input.norms}"


rule figure_score_distributions:
    input:
        scores=figure_scores("score_distributions"),
        source=figure_sources("score_distributions", "scores_file"),
    output:
        svg=report(
            "<results>/figures/score_distributions.svg",
            caption="../report/score_distributions.rst",
            category="Figures",
            labels={"figure": "score distributions"},
        ),
        png="<results>/figures/score_distributions.png",
    log:
        "<logs>/figures/score_distributions.log",
    benchmark:
        "<benchmarks>/figure_score_distributions/score_distributions.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        names=",".join(config["figures"]["score_distributions"]["backbones"]),
        scale=config["scale"],
    message:
        "score distributions"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-score-distributions --names {params.names} --scale {params.scale}"
        " --svg {output.svg} --png {output.png} {input.scores}"


rule figure_training_curves:
    input:
        runs=[folder for _, folder in training_runs()],
        source=figure_sources("training_curves"),
    output:
        svg=report(
            "<results>/figures/training_curves.svg",
            caption="../report/training_curves.rst",
            category="Figures",
            labels={"figure": "training curves"},
        ),
        png="<results>/figures/training_curves.png",
    log:
        "<logs>/figures/training_curves.log",
    benchmark:
        "<benchmarks>/figure_training_curves/training_curves.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        names=",".join(method for method, _ in training_runs()),
        scale=config["scale"],
    message:
        "training curves"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-training-curves --names {params.names} --scale {params.scale}"
        " --svg {output.svg} --png {output.png} {input.runs}"


# The curves of a single run; asked for by name.
rule figure_training_curve:
    input:
        run="<results>/rl/{benchmark}/{backbone}/{init}--{algorithm}--{subset}/seed{seed}",
        source=figure_sources("training_curves"),
    output:
        svg="<results>/figures/training_curves/{benchmark}/{backbone}/{init}--{algorithm}--{subset}/seed{seed}.svg",
        png="<results>/figures/training_curves/{benchmark}/{backbone}/{init}--{algorithm}--{subset}/seed{seed}.png",
    log:
        "<logs>/figures/training_curves/{benchmark}/{backbone}/{init}--{algorithm}--{subset}/seed{seed}.log",
    conda:
        "../envs/cpu.yaml"
    params:
        scale=config["scale"],
    message:
        "training curves of {input.run}"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-training-curves --names seed{wildcards.seed} --scale {params.scale}"
        " --svg {output.svg} --png {output.png} {input.run}"


rule figure_forest:
    input:
        tables=collect(
            "<results>/tables/{table}.csv", table=config["figures"]["forest"]["tables"]
        ),
        source=figure_sources("forest"),
    output:
        svg=report(
            "<results>/figures/forest.svg",
            caption="../report/forest.rst",
            category="Figures",
            labels={"figure": "forest plot"},
        ),
        png="<results>/figures/forest.png",
    log:
        "<logs>/figures/forest.log",
    benchmark:
        "<benchmarks>/figure_forest/forest.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        scale=config["scale"],
    message:
        "forest plot: all methods with their intervals"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-forest --scale {params.scale}"
        " --svg {output.svg} --png {output.png} {input.tables}"


rule figure_schedule:
    input:
        # everything that takes time: the schedule comes after it
        collect("<results>/tables/{table}.csv", table=config["targets"]["tables"]),
        collect(
            "<results>/figures/{figure}.svg",
            figure=[
                figure
                for figure in config["targets"]["figures"]
                if figure != "schedule"
            ],
        ),
        source=figure_sources("schedule"),
    output:
        svg=report(
            "<results>/figures/schedule.svg",
            caption="../report/schedule.rst",
            category="Run",
            labels={"figure": "schedule"},
        ),
        png="<results>/figures/schedule.png",
    log:
        "<logs>/figures/schedule.log",
    conda:
        "../envs/cpu.yaml"
    params:
        folder=f"{config['results']}/benchmarks",
        scale=config["scale"],
    message:
        "schedule of the run"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-schedule --folder {params.folder} --scale {params.scale}"
        " --svg {output.svg} --png {output.png}"
