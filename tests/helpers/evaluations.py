"""Evaluation files as a run has them."""

from prism.core.files import write_json


def write_evaluation(folder, method, panel, successes, *, benchmark="alfworld", seed=0, panel_sha256=""):
    """Episodes of tasks of one type, solved or not, below a folder of results; returns the file.

    Args:
        panel_sha256: hash of the panel; its name where none is given.
    """
    episodes = [
        {"task_id": f"{panel}{index}", "task_type": "pick", "success": bool(one), "score": float(one)}
        for index, one in enumerate(successes)
    ]
    path = folder / f"eval/{benchmark}/tiny/{method}/seed{seed}/{panel}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"benchmark": benchmark, "panel": panel, "panel_sha256": panel_sha256 or panel, "seed": seed, "recipe": {}}
    write_json(path, {**known, "episodes": episodes})
    return path
