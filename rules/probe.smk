# Gradient norms of every trajectory over the 7L matrices (eq. 1), a parquet a shard; also under variants of the settings.
for probe_name, variant in {"probe": "", "probe_variant": "{variant}/"}.items():
    norms_folder = "gradnorms_variants" if variant else "gradnorms"
    shard_place = f"{variant}{{benchmark}}/{{backbone}}/shard-{{shard}}-of-{{shards}}"

    rule:
        name:
            probe_name
        input:
            model=lambda w: INPUTS.probed_model(
                w.benchmark, w.backbone, w.get("variant", "")
            ),
            trajectories="<results>/data/{benchmark}/trajectories.jsonl",
        output:
            f"<results>/{norms_folder}/{shard_place}.parquet",
        log:
            f"<logs>/{norms_folder}/{shard_place}.log",
        benchmark:
            f"<benchmarks>/{probe_name}/{shard_place}.tsv"
        wildcard_constraints:
            variant=only(config["probe"]["variants"]),
        conda:
            "../envs/rl.yaml"
        container:
            image("rl")
        params:
            recipe=lambda wildcards: recipe(
                "probe", wildcards.benchmark, wildcards.get("variant", "")
            ),
            machine=lambda wildcards, threads: machine(
                "probe", wildcards.benchmark, wildcards.get("variant", "")
            ),
            version=STAGE_VERSIONS["probe"],
            loop=f"{config['results']}/benchmarks/{probe_name}/{shard_place}.loop.json",
        message:
            "probe: gradient norms of {wildcards.benchmark} under {wildcards.backbone}"
            + (", {wildcards.variant}" if variant else "")
            + ", shard {wildcards.shard}"
        shell:
            "PRISM_LOG={log} python -m prism probe --model {input.model} --data {input.trajectories}"
            " --shard {wildcards.shard} --shards {wildcards.shards} --recipe {params.recipe:q} --machine {params.machine:q}"
            " --loop-time {params.loop} --resume --out {output}"


# section 2.2's claim: what the probe needs beside a forward pass and an ordinary backward pass
rule memory:
    input:
        model="<results>/backbones/{backbone}",
        trajectories="<results>/data/{benchmark}/trajectories.jsonl",
    output:
        "<results>/memory/{benchmark}/{backbone}.json",
    log:
        "<logs>/memory/{benchmark}/{backbone}.log",
    benchmark:
        "<benchmarks>/memory/{benchmark}/{backbone}.tsv"
    conda:
        "../envs/rl.yaml"
    container:
        image("rl")
    params:
        recipe=lambda wildcards: recipe("probe", wildcards.benchmark),
        version=STAGE_VERSIONS["probe"],
    message:
        "memory: the probe of {wildcards.backbone} beside ordinary passes"
    shell:
        "PRISM_LOG={log} python -m prism stage measure-memory --model {input.model} --trajectories {input.trajectories}"
        " --recipe {params.recipe:q} --out {output}"
