# Data from elsewhere: downloaded once into folders that outlive the results, checked and unpacked; what is there already
# and matches is kept. These jobs run where Snakemake runs: compute nodes often have no network.
DOWNLOAD_FOLDERS = {
    "alfworld": config["benchmarks"]["alfworld"]["data_dir"],
    config["benchmarks"]["webshop"]["collection"]: config["benchmarks"]["webshop"][
        "data_dir"
    ],
    ETO: "resources/eto",
}


localrules:
    fetch,


rule fetch:
    output:
        "<results>/fetch/{collection}.json",
    log:
        "<logs>/fetch/{collection}.log",
    benchmark:
        "<benchmarks>/fetch/{collection}.tsv"
    wildcard_constraints:
        collection="|".join(DOWNLOAD_FOLDERS),
    conda:
        "../envs/cpu.yaml"
    params:
        folder=lambda wildcards: DOWNLOAD_FOLDERS[wildcards.collection],
        version=STAGE_VERSIONS["fetch"],
    message:
        "fetch: {wildcards.collection} into {params.folder}"
    shell:
        "PRISM_LOG={log} python -m prism stage fetch {wildcards.collection} --folder {params.folder:q} --out {output}"


if INPUTS.plays_eto("alfworld"):

    rule alfworld_eto_trajectories:
        input:
            fetched="<results>/fetch/eto.json",
            games="<results>/data/alfworld/games",
        output:
            trajectories="<results>/data/alfworld/trajectories.jsonl",
            manifest="<results>/data/alfworld/trajectories.json",
        log:
            "<logs>/data/alfworld/trajectories.log",
        benchmark:
            "<benchmarks>/alfworld_eto_trajectories/trajectories.tsv"
        conda:
            "../envs/cpu.yaml"
        threads: 4
        params:
            source=f"{DOWNLOAD_FOLDERS[ETO]}/alfworld_sft.json",
            recipe=recipe("eto", "alfworld"),
            version=STAGE_VERSIONS["trajectories"],
        message:
            "trajectories: ETO's conversations, played again in ALFWorld"
        shell:
            "PRISM_LOG={log} python -m prism stage eto-trajectories --benchmark alfworld --source {params.source:q}"
            " --games {input.games} --recipe {params.recipe:q} --workers {threads}"
            " --out {output.trajectories} --manifest {output.manifest}"


if INPUTS.plays_eto("webshop"):

    rule webshop_eto_trajectories:
        input:
            fetched="<results>/fetch/eto.json",
            games="<results>/data/webshop/games",
        output:
            trajectories="<results>/data/webshop/trajectories.jsonl",
            manifest="<results>/data/webshop/trajectories.json",
        log:
            "<logs>/data/webshop/trajectories.log",
        benchmark:
            "<benchmarks>/webshop_eto_trajectories/trajectories.tsv"
        conda:
            "../envs/cpu.yaml"
        params:
            source=f"{DOWNLOAD_FOLDERS[ETO]}/webshop_sft.json",
            recipe=recipe("eto", "webshop"),
            version=STAGE_VERSIONS["trajectories"],
        message:
            "trajectories: ETO's conversations, played again in WebShop"
        shell:
            "PRISM_LOG={log} python -m prism stage eto-trajectories --benchmark webshop --source {params.source:q}"
            " --games {input.games} --recipe {params.recipe:q}"
            " --out {output.trajectories} --manifest {output.manifest}"
