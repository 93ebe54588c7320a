# Does training help? Base, SFT and SFT-then-RL on the same held-out tasks, and RL's checkpoints between. Built on request:
#
#   snakemake --configfile config/learning.yaml -- results/learning/tables/learning.csv results/learning/figures/learning-seed0.svg
# the learning experiment
LEARNING_BENCHMARK = "alfworld"
LEARNING_PANELS = BENCHMARKS[LEARNING_BENCHMARK].panels
LEARNING_BACKBONE = config["tables"]["table1"]["backbones"][0]
LEARNING_EVALUATIONS = f"<results>/eval/{LEARNING_BENCHMARK}/{LEARNING_BACKBONE}/{{method}}/seed{{seed}}/{{panel}}.json"


rule learning_curve:
    input:
        run=f"<results>/rl/{LEARNING_BENCHMARK}/{LEARNING_BACKBONE}/all--grpo--all/seed{{seed}}",
        games=f"<results>/data/{LEARNING_BENCHMARK}/games",
        panel=f"<results>/data/{LEARNING_BENCHMARK}/panels/{{panel}}.json",
    output:
        directory("<results>/curves/seed{seed}/{panel}"),
    log:
        "<logs>/curves/seed{seed}/{panel}.log",
    benchmark:
        "<benchmarks>/learning_curve/seed{seed}/{panel}.tsv"
    conda:
        "../envs/rl.yaml"
    container:
        image("rl")
    params:
        recipe=recipe("evaluation", LEARNING_BENCHMARK),
        machine=lambda wildcards, threads: machine("evaluation", LEARNING_BENCHMARK),
        work=lambda wildcards, input: work_folder(input.run),
        version=STAGE_VERSIONS["evaluate"],
    message:
        "learning curve: RL's checkpoints on {wildcards.panel}, seed {wildcards.seed}"
    shell:
        "PRISM_LOG={log} python -m prism stage learning-curve --run {input.run} --work {params.work} --games {input.games}"
        " --panel {input.panel} --recipe {params.recipe:q} --machine {params.machine:q}"
        " --seed {wildcards.seed} --out {output}"


rule learning_table:
    input:
        evaluations=collect(
            LEARNING_EVALUATIONS,
            method=["base", "sft", "sft-then-rl"],
            seed=config["seeds"],
            panel=LEARNING_PANELS,
        ),
    output:
        "<results>/tables/learning.csv",
    log:
        "<logs>/tables/learning.log",
    benchmark:
        "<benchmarks>/learning_table/learning.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("learning"),
        scale=config["scale"],
    message:
        "learning: base, SFT and SFT-then-RL on the same tasks"
    shell:
        "PRISM_LOG={log} python -m prism stage learning-table --scale {params.scale} --out {output} {input.evaluations}"


rule figure_learning:
    input:
        run=f"<results>/rl/{LEARNING_BENCHMARK}/{LEARNING_BACKBONE}/all--grpo--all/seed{{seed}}",
        curves=collect("<results>/curves/seed{{seed}}/{panel}", panel=LEARNING_PANELS),
        evaluations=collect(
            LEARNING_EVALUATIONS,
            method=["base", "sft"],
            seed="{seed}",
            panel=LEARNING_PANELS,
        ),
    output:
        svg="<results>/figures/learning-seed{seed}.svg",
        png="<results>/figures/learning-seed{seed}.png",
    log:
        "<logs>/figures/learning-seed{seed}.log",
    benchmark:
        "<benchmarks>/figure_learning/seed{seed}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("learning_figure"),
        title=lambda wildcards: f"GRPO from the SFT checkpoint, {LEARNING_BENCHMARK}, {LEARNING_BACKBONE}, seed {wildcards.seed}",
        curves=lambda wildcards, input: " ".join(
            f"--curve {folder}" for folder in input.curves
        ),
        scale=config["scale"],
    message:
        "figure: learning curve of seed {wildcards.seed}"
    shell:
        "PRISM_LOG={log} python -m prism stage figure-learning --run {input.run} {params.curves}"
        " --title {params.title:q} --scale {params.scale} --svg {output.svg} --png {output.png} {input.evaluations}"
