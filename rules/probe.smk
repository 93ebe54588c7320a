# Gradient norms of every trajectory over the 7L projection matrices (eq. 1), one parquet a shard.


rule probe:
    input:
        model="<results>/backbones/{backbone}",
        trajectories="<results>/data/{benchmark}/trajectories.jsonl",
    output:
        "<results>/gradnorms/{benchmark}/{backbone}/shard-{shard}-of-{shards}.parquet",
    log:
        "<logs>/gradnorms/{benchmark}/{backbone}/shard-{shard}-of-{shards}.log",
    benchmark:
        "<benchmarks>/probe/{benchmark}/{backbone}/shard-{shard}-of-{shards}.tsv"
    conda:
        "../envs/rl.yaml"
    container:
        image("rl")
    params:
        recipe=lambda wildcards: json_text(
            {
                "layout": config["probe"]["layout"],
                "loss_on": config["probe"]["loss_on"],
                "dtype": config["probe"]["dtype"],
                "tokens_per_pack": config["probe"]["tokens_per_pack"],
                "gradient_checkpointing": config["probe"]["gradient_checkpointing"],
                "prompt": config["benchmarks"][wildcards.benchmark]["prompt"],
            }
        ),
        version=STAGE_VERSIONS["probe"],
        loop=f"{config['results']}/benchmarks/probe/{{benchmark}}/{{backbone}}/shard-{{shard}}-of-{{shards}}.loop.json",
    message:
        "probe: gradient norms of {wildcards.benchmark} under {wildcards.backbone}, shard {wildcards.shard}"
    shell:
        "PRISM_LOG={log} python -m prism probe --model {input.model} --data {input.trajectories}"
        " --shard {wildcards.shard}"
        " --shards {wildcards.shards} --recipe {params.recipe:q} --loop-time {params.loop} --out {output}"
