"""What a target will cost: its jobs as Snakemake plans them, hours from a cost model, the least wall-clock."""

from prism.tools.plan.report import plan_power, plan_target

__all__ = ["plan_power", "plan_target"]
