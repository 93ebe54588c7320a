# Tables about the scores themselves; prism/core/study_tables.py says what each is made from.
from prism.study_inputs import STUDY_TABLES, StudyInputs


rule facts:
    input:
        "<results>/data/{benchmark}/trajectories.jsonl",
    output:
        "<results>/data/{benchmark}/facts.csv",
    log:
        "<logs>/data/{benchmark}/facts.log",
    benchmark:
        "<benchmarks>/facts/{benchmark}.tsv"
    conda:
        "../envs/cpu.yaml"
    params:
        code=code("score_study/facts"),
    message:
        "facts: what is counted in the trajectories of {wildcards.benchmark}"
    shell:
        "PRISM_LOG={log} python -m prism stage facts {input} --out {output}"


for study_name, study in STUDY_TABLES.items():
    wanted = StudyInputs(study_name, INPUTS)

    rule:
        name:
            f"study_{study.module}"
        input:
            **wanted.files(),
        output:
            csv=f"<results>/tables/{study_name}.csv",
            md=report(
                f"<results>/tables/{study_name}.md",
                caption=f"../report/{study_name}.rst",
                category="Tables",
            ),
        log:
            f"<logs>/tables/{study_name}.log",
        benchmark:
            f"<benchmarks>/study_{study.module}/{study_name}.tsv"
        localrule: True
        conda:
            "../envs/cpu.yaml"
        params:
            table=study_name,
            files=lambda wildcards, input: file_options(dict(input.items()), ""),
            settings=wanted.settings(),
            scale=config["scale"],
            code=code(f"score_study/{study.module}"),
        message:
            study.title
        shell:
            "PRISM_LOG={log} python -m prism stage study-table {params.table} {params.files:q}"
            " --settings {params.settings:q} --scale {params.scale} --out-csv {output.csv} --out-md {output.md}"
