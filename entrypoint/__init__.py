"""Sidegate: starts a VPN client and keeps replies on the side they came from."""

__version__ = "0.1.0"
