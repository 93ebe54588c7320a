"""What rules run: files in, files out, a summary to the log."""
