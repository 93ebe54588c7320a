"""The stages of the workflow, one file each: files in, files out, a summary to the log."""
