"""Cadenza: a customer data platform and journey orchestrator in one process."""

__version__ = "0.1.0"
