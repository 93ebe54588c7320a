"""ALFWorld: generated games or the real data set, played on the unmodified textworld and alfworld packages."""
