"""The command line.

``app`` lists the commands and runs them; ``own_data`` and ``tools`` hold those that people call, ``stage_data``,
``stage_models`` and ``stage_results`` those that the workflow's rules call.
"""

from prism.cli.app import app, main

__all__ = ["app", "main"]
