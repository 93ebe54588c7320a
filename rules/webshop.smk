# Raw data of WebShop: a catalog compiled into a store, trajectories of the oracle shopper, fixed panels of goals.
WEBSHOP = config["benchmarks"]["webshop"]


if WEBSHOP["source"] == "generated":

    rule webshop_catalog:
        output:
            directory("<results>/data/webshop/catalog"),
        log:
            "<logs>/data/webshop/catalog.log",
        benchmark:
            "<benchmarks>/webshop_catalog/catalog.tsv"
        conda:
            "../envs/cpu.yaml"
        params:
            recipe=recipe("catalog"),
            version=STAGE_VERSIONS["games"],
        message:
            "catalog of WebShop, generated"
        shell:
            "PRISM_LOG={log} python -m prism stage webshop-catalog --recipe {params.recipe:q} --out {output}"


rule webshop_store:
    input:
        catalog=(
            "<results>/data/webshop/catalog"
            if WEBSHOP["source"] == "generated"
            else []
        ),
        fetched=fetched("webshop"),
    output:
        directory("<results>/data/webshop/games"),
    log:
        "<logs>/data/webshop/games.log",
    benchmark:
        "<benchmarks>/webshop_store/games.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        # the original files are a parameter, as ALFWorld's are: the paper's scale can be planned without them
        catalog=lambda wildcards, input: input.catalog or WEBSHOP["data_dir"],
        recipe=recipe("store"),
        version=STAGE_VERSIONS["games"],
    message:
        "store of WebShop: products, goals, search index"
    shell:
        "PRISM_LOG={log} python -m prism stage webshop-store --catalog {params.catalog:q} --recipe {params.recipe:q}"
        " --out {output}"


if WEBSHOP["trajectories_file"]:

    rule webshop_corpus:
        input:
            WEBSHOP["trajectories_file"],
        output:
            trajectories="<results>/data/webshop/trajectories.jsonl",
            manifest="<results>/data/webshop/trajectories.json",
        log:
            "<logs>/data/webshop/trajectories.log",
        benchmark:
            "<benchmarks>/webshop_corpus/trajectories.tsv"
        conda:
            "../envs/cpu.yaml"
        params:
            version=STAGE_VERSIONS["trajectories"],
        message:
            "trajectories: {input}"
        shell:
            "PRISM_LOG={log} python -m prism stage import-trajectories {input:q} --out {output.trajectories}"
            " --manifest {output.manifest}"

elif not INPUTS.plays_eto("webshop"):

    rule webshop_trajectories:
        input:
            store="<results>/data/webshop/games",
        output:
            trajectories="<results>/data/webshop/trajectories.jsonl",
            manifest="<results>/data/webshop/trajectories.json",
        log:
            "<logs>/data/webshop/trajectories.log",
        benchmark:
            "<benchmarks>/webshop_trajectories/trajectories.tsv"
        conda:
            "../envs/cpu.yaml"
        params:
            recipe=recipe("expert", "webshop"),
            version=STAGE_VERSIONS["trajectories"],
        message:
            "trajectories: the oracle shopper plays training goals"
        shell:
            "PRISM_LOG={log} python -m prism stage webshop-trajectories --store {input.store} --recipe {params.recipe:q}"
            " --out {output.trajectories} --manifest {output.manifest}"


rule webshop_training_panel:
    input:
        store="<results>/data/webshop/games",
        trajectories="<results>/data/webshop/trajectories.jsonl",
    output:
        "<results>/data/webshop/panels/train.json",
    log:
        "<logs>/data/webshop/panels/train.log",
    benchmark:
        "<benchmarks>/webshop_panel/train.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("webshop_trajectories"),
        recipe=recipe("panel", "webshop", "train"),
    message:
        "panel train: the goals that have a trajectory"
    shell:
        "PRISM_LOG={log} python -m prism stage webshop-panel --store {input.store} --trajectories {input.trajectories}"
        " --split train --recipe {params.recipe:q} --out {output}"


rule webshop_panel:
    input:
        store="<results>/data/webshop/games",
    output:
        "<results>/data/webshop/panels/test.json",
    log:
        "<logs>/data/webshop/panels/test.log",
    benchmark:
        "<benchmarks>/webshop_panel/test.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("webshop_trajectories"),
        recipe=recipe("panel", "webshop", "test"),
    message:
        "panel test: a fixed list of goals"
    shell:
        "PRISM_LOG={log} python -m prism stage webshop-panel --store {input.store} --split test"
        " --recipe {params.recipe:q} --out {output}"
