# Pass rates (HPT): how often the untrained backbone solves each training task.


rule pass_rates:
    input:
        model="<results>/backbones/{backbone}",
        games="<results>/data/{benchmark}/games",
        panel="<results>/data/{benchmark}/panels/train.json",
    output:
        "<results>/passrates/{benchmark}/{backbone}.csv",
    log:
        "<logs>/passrates/{benchmark}/{backbone}.log",
    benchmark:
        "<benchmarks>/pass_rates/{benchmark}/{backbone}.tsv"
    conda:
        "../envs/rl.yaml"
    container:
        image("rl")
    params:
        recipe=lambda wildcards: json_text(
            {
                **stage_settings("evaluation", wildcards.benchmark),
                **config["pass_rates"],
                "max_steps": config["benchmarks"][wildcards.benchmark]["max_steps"],
            }
        ),
        version=STAGE_VERSIONS["evaluate"],
    message:
        "pass rates: {wildcards.backbone} on {wildcards.benchmark}"
    shell:
        "PRISM_LOG={log} python -m prism pass-rates --model {input.model} --games {input.games} --panel {input.panel}"
        " --recipe {params.recipe:q} --out {output}"
