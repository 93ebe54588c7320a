"""What people call and no rule runs: it looks at a plan, a run or a file, and may use the stages."""
