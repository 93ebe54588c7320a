# Data from elsewhere: downloaded once into folders that outlive the results, checked and unpacked; what is there already
# and matches is kept. These jobs run where Snakemake runs: compute nodes often have no network.


rule fetch:
    output:
        "<results>/fetch/{collection}.json",
    log:
        "<logs>/fetch/{collection}.log",
    benchmark:
        "<benchmarks>/fetch/{collection}.tsv"
    wildcard_constraints:
        collection="|".join(DATA.download_folders),
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        folder=lambda wildcards: DATA.download_folders[wildcards.collection],
        version=STAGE_VERSIONS["fetch"],
    message:
        "fetch: {wildcards.collection} into {params.folder}"
    shell:
        "PRISM_LOG={log} python -m prism stage fetch {wildcards.collection} --folder {params.folder:q} --out {output}"
