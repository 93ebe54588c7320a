"""Formats and science: no Snakemake, no SLURM, no command line."""
