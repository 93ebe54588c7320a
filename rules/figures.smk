# Figures, as svg for print and png for the screen. prism/core/figures.py says what each is drawn from, config["figures"]
# of which benchmark, backbones and methods.
from prism.core.figures import FIGURES
from prism.figure_inputs import FigureInputs, file_options

for figure_name, figure in FIGURES.items():
    wanted = FigureInputs(figure_name, INPUTS)

    rule:
        name:
            f"figure_{figure.module}"
        input:
            **wanted.files(),
        output:
            svg=report(
                f"<results>/figures/{figure_name}.svg",
                caption=f"../report/{figure_name}.rst",
                category=figure.category,
                labels={"figure": figure.title},
            ),
            png=f"<results>/figures/{figure_name}.png",
        log:
            f"<logs>/figures/{figure_name}.log",
        benchmark:
            # the schedule's own time is not drawn in it
            f"{'<logs>' if 'times' in figure.inputs else '<benchmarks>'}/figure_{figure.module}/{figure_name}.tsv"
        localrule: True
        conda:
            "../envs/cpu.yaml"
        params:
            figure=figure_name,
            files=lambda wildcards, input: file_options(
                dict(input.items()), Results(config["results"]).times
            ),
            settings=wanted.settings(),
            scale=config["scale"],
            code=code(f"figures/{figure.module}"),
        message:
            figure.title
        shell:
            "PRISM_LOG={log} python -m prism stage figure {params.figure} {params.files:q} --settings {params.settings:q}"
            " --scale {params.scale} --svg {output.svg} --png {output.png}"


# The curves of a single run; asked for by name.
RUN = "{benchmark}/{backbone}/{init}--{algorithm}--{subset}/seed{seed}"


use rule figure_training_curves as figure_training_curve with:
    input:
        runs=[f"<results>/rl/{RUN}"],
    output:
        svg=f"<results>/figures/training_curves/{RUN}.svg",
        png=f"<results>/figures/training_curves/{RUN}.png",
    log:
        f"<logs>/figures/training_curves/{RUN}.log",
    benchmark:
        f"<benchmarks>/figure_training_curve/{RUN}.tsv"
    params:
        settings=lambda wildcards: json_text({"names": [f"seed{wildcards.seed}"]}),
