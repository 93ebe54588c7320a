"""Names of the tables' panels and columns: what the workflow plans by and the stages fill."""

TASK_TYPES = ("pick", "look", "clean", "heat", "cool", "pick2")
TABLE1_PANELS = ("seen", "unseen")
# the six task types, then all of them
TABLE1_COLUMNS = (*TASK_TYPES, "all")
