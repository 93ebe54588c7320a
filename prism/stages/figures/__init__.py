"""Figures, one file a figure, all as svg and png; `style` holds what they share."""
