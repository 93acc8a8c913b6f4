"""Benchmarks, side by side with peers. ``python -m bench`` runs them all; see ``bench/__main__.py``."""
