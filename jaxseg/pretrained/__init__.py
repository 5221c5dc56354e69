"""Weights that others trained: their files, their names, their layouts."""
