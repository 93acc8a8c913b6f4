"""Channels and destinations: the only outward network code."""

from cadenza.adapters.channels import ADAPTERS, open_channel

__all__ = ["ADAPTERS", "open_channel"]
