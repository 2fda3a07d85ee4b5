"""VPN clients: one file a program behind the protocol of `base`."""
