# Backbones: below paper scale the tiny ones that ship in resources/backbones, at paper scale pinned downloads; one of a
# pinned package beside the tiny ones (config/pretrained.yaml).


rule backbone:
    output:
        directory("<results>/backbones/{backbone}"),
    log:
        "<logs>/backbones/{backbone}.log",
    benchmark:
        "<benchmarks>/backbone/{backbone}.tsv"
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        source=lambda wildcards: config["backbones"][wildcards.backbone]["source"],
        location=lambda wildcards: config["backbones"][wildcards.backbone]["location"],
        revision=lambda wildcards: config["backbones"][wildcards.backbone]["revision"]
        or "none",
        content=lambda wildcards: backbone_content(
            config["backbones"][wildcards.backbone]
        ),
        package=lambda wildcards: package_options(
            config["backbones"][wildcards.backbone]
        ),
        version=STAGE_VERSIONS["backbone"],
    message:
        "backbone {wildcards.backbone}: {params.source} {params.location}"
    shell:
        "PRISM_LOG={log} python -m prism stage backbone --source {params.source} --location {params.location:q}"
        " --revision {params.revision:q} {params.package}"
        " --out {output}"
