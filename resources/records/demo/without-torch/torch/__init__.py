"""Stands in for torch while the replay runs, which must not need it."""

raise ImportError("the replay rebuilds tables and figures from records alone and must not import torch")
