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
        recipe=lambda wildcards: recipe("probe", wildcards.benchmark),
        machine=lambda wildcards, threads: machine("probe", wildcards.benchmark),
        version=STAGE_VERSIONS["probe"],
        loop=f"{config['results']}/benchmarks/probe/{{benchmark}}/{{backbone}}/shard-{{shard}}-of-{{shards}}.loop.json",
    message:
        "probe: gradient norms of {wildcards.benchmark} under {wildcards.backbone}, shard {wildcards.shard}"
    shell:
        "PRISM_LOG={log} python -m prism probe --model {input.model} --data {input.trajectories}"
        " --shard {wildcards.shard}"
        " --shards {wildcards.shards} --recipe {params.recipe:q} --machine {params.machine:q}"
        " --loop-time {params.loop} --out {output}"
