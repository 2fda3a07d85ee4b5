"""A lab on one machine: hosts made of network namespaces, with real programs in them.

It treats what it tests as a command line and imports nothing of it; what it asserts it reads with
iproute2's JSON, tcpdump and plain sockets.
"""
