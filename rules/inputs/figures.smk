# What the figures are made of: scores, evaluations and runs that a config asks for.


def figure_sources(*names):
    """Sources of a figure: it is drawn again when they change."""
    return sorted({path for name in names for path in source(f"figures/{name}")})


def figure_scores(name):
    """Score tables of a figure, one a backbone."""
    target = config["figures"][name]
    return collect(
        "<results>/scores/{benchmark}/{backbone}.csv",
        benchmark=target["benchmark"],
        backbone=target["backbones"],
    )


def figure_evaluations(name):
    """Evaluations of a figure: its backbones, methods and all seeds on its panel."""
    target = config["figures"][name]
    return collect(
        "<results>/eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json",
        benchmark=target["benchmark"],
        backbone=target["backbones"],
        method=target["methods"],
        seed=config["seeds"],
        panel=figure_panel(name),
    )


def figure_panel(name):
    """The panel of a figure: the first of its benchmark."""
    return next(
        iter(config["benchmarks"][config["figures"][name]["benchmark"]]["panels"])
    )


def evaluation_options(name):
    """What a command needs to find a figure's evaluations."""
    target = config["figures"][name]
    seeds = ",".join(map(str, config["seeds"]))
    return (
        f"--evaluations {config['results']}/eval/{target['benchmark']} --panel {figure_panel(name)} --seeds {seeds}"
        f" --methods {','.join(target['methods'])}"
    )


def training_runs():
    """The RL runs of the training curves as (method, folder), seeds of one method side by side."""
    target = config["figures"]["training_curves"]
    return [
        (
            method,
            checkpoint_folder(
                method, target["benchmark"], target["backbones"][0], seed
            ),
        )
        for method in target["methods"]
        if METHODS[method].rl
        for seed in config["seeds"]
    ]
