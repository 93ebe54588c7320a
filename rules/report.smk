# What wraps up a run: the page that a person opens first, and its provenance.
REPORTED = [*config["targets"]["tables"], *config["targets"]["figures"]]
PAGE = [f"prism/stages/templates/{name}" for name in ("base.css", "index.html.jinja")]


rule index_page:
    input:
        INPUTS.products(),
        INPUTS.everything(),
        "<results>/benchmarks/summary.csv",
        captions=collect(shipped("report/{name}.rst"), name=REPORTED),
    output:
        "<results>/index.html",
    log:
        "<logs>/index.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("index_page", others=PAGE),
        results=lambda wildcards, output: os.path.dirname(output[0]),
        shown=json_text(
            {"scale": config["scale"], "seeds": config["seeds"], **config["targets"]}
        ),
        captions=lambda wildcards, input: os.path.dirname(input.captions[0]),
    message:
        "index page: {output}"
    shell:
        "PRISM_LOG={log} python -m prism stage index-page --results {params.results} --shown {params.shown:q}"
        " --captions {params.captions:q} --out {output}"


# the shipped records of a run at this scale; the laptop scale has several worlds, each with a folder of its own
WORLD = config["results"] if config["scale"] == "laptop" else config["scale"]
RECORDS = f"resources/records/{os.path.basename(WORLD)}"
RECORDED = shipped(RECORDS)


rule verify:
    input:
        # tables too: a scale that plays nothing has nothing else
        [*INPUTS.products(), *INPUTS.everything()],
        manifest=f"{RECORDED}/manifest.json",
    output:
        multiext("<results>/certificate", ".json", ".md"),
    log:
        "<logs>/verify.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("verify"),
        results=lambda wildcards, output: os.path.dirname(output[0]),
        records=lambda wildcards, input: os.path.dirname(input.manifest),
    message:
        "verify: does this run agree with the recorded one?"
    shell:
        "PRISM_LOG={log} python -m prism verify {params.results} --against {params.records:q} --any-verdict"


rule crate:
    input:
        "<results>/index.html",
        INPUTS.certificate(RECORDED),
        licences=shipped("resources/licences.csv"),
    output:
        metadata="<results>/ro-crate-metadata.json",
        workflow=directory("<results>/workflow"),
    log:
        "<logs>/crate.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("crate"),
        results=lambda wildcards, output: os.path.dirname(output[0]),
        workflow=shipped("."),
        # what names the run; every evaluation and training records its own settings
        config=json_text(
            {key: config[key] for key in ("scale", "results", "seeds", "targets")}
        ),
    message:
        "provenance: {output.metadata}"
    shell:
        "PRISM_LOG={log} python -m prism stage crate --results {params.results} --workflow {params.workflow:q} --config {params.config:q}"
        " --snapshot {output.workflow} --out {output.metadata}"


# `snakemake --configfile ... pack_records`: what there is of the run, for others to go on from
rule pack_records:
    log:
        "<logs>/pack_records.log",
    localrule: True
    conda:
        "../envs/cpu.yaml"
    params:
        results=config["results"],
        out=config["go_on_from"] or RECORDS,
        config=json_text(config),
    message:
        "records: {params.results} to {params.out}"
    shell:
        "PRISM_LOG={log} python -m prism stage pack-records --results {params.results} --out {params.out:q} --config {params.config:q}"
