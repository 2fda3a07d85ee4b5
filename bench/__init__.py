"""Sidegate beside bare clients: what the sidecar costs, and what it saves.

    make bench                     or, as root:  python -m bench --client wireguard --runs 5 --idle 60

One table for each client. Both contenders do the same work in the same lab (tests/lab: namespaces without
an uplink, a real server that sends a route over the LAN): connect with the same configuration. Sidegate is
started as the Dockerfile starts it (interpreter options and environment are read from there) but without
tini and the shell before it, and by the Python of this machine without its .pth files (`-S`: what `site`
itself takes in the image, some 2 ms, is left out). Bare is the least that a user would start:

- openvpn: `openvpn --config FILE`.
- wireguard: a shell that calls wireguard-go (or `ip link add`, where the kernel has WireGuard, which
  Sidegate takes there as well), `wg setconf` and `ip`: less than wg-quick.
- openconnect: `openconnect` with Debian's vpnc-script, which is its default.
- command: the same openvpn, which Sidegate starts by VPN_COMMAND as it would a vendor's program.
- none: the same openvpn, which a shell starts at the moment when it starts Sidegate. Nobody waits for
  Sidegate's rules then: what is lost until they stand has no target. "Sidegate" counts both, and the shell.

The runs alternate, each against a server that was just started; each contender runs first once or twice
without being counted, so that every file is in memory.

What the figures mean:

- *VPN peer connects*: seconds from the exec of the program to the first TCP connection that server B, on
  the far side of the VPN, can open to the service at the tunnel's address. Server B tries every 5 ms.
- *ready*: to that and to the first 200 of /readyz, asked every 10 ms, whichever is later. It is compared
  with bare's time above, which has no readiness to ask for.
- *CPU until then*: of the program and what it started, without the server's share; of children that have
  ended the kernel tells it in hundredths of a second. Where the wall time is blurred by what else the
  machine does, this is the steadier figure.
- *LAN echoes lost*: of one connection from the laptop, established before, that sends an echo every
  millisecond until a second after the above; lost means answered after 150 ms or never. A machine that
  stalls for so long counts here too; *segments sent again* shows real loss. *LAN connects* asks anew,
  while the tunnel stands and after the stop.
- *Memory*: PSS of /proc/PID/smaps_rollup a second after ready. Pages that several processes map are
  divided among them, so both contenders run on copies of the files that they map: like an image's, they
  are shared by nobody outside. RSS beside it counts in full also what the entrypoint shares with its
  client. A process that was asked for /metrics has imported more. This machine's Python is not the
  image's, whose build may take a little more or less.
- *Idle CPU* (openvpn): run time by /proc/PID/task/*/schedstat in nanoseconds, and how often a process was
  woken (voluntary context switches), over `--idle` seconds without traffic or health checks. The server
  pings every second, so that openvpn itself is never quite idle.
- *HEALTHCHECK* (beside openvpn): user and system time of the process, as wait4(2) tells, and its wall time,
  without Docker's part in it; beside it the usual alternatives.
- *published port*, *tunnel* (openvpn): what arrived by one TCP connection of iperf3 in a second, from or to
  a service in the shared namespace. `--throughput` rounds; in each, bare, Sidegate and Sidegate with
  KILL_SWITCH=on run each way once, and each round begins with another of them. The server's route covers the
  LAN, so bare could answer nobody at its published port: it has a route to the LAN that was set by hand, as
  a user may do who knows all LANs. It runs in a lab where no rule was ever set: a namespace's first rule
  slows its look-ups for good. Client, server and iperf3 share the processors, so the tunnel's figures swing;
  *CPU of client and sidecar* for what was carried is the steadier one. The kill switch has the kernel track
  connections, which in these namespaces nobody else does.
- *CPU of a reply*, *of a datagram in*: of one UDP packet of 64 bytes, from the send call to the far socket,
  without (bare) and with what is named. They take turns every few milliseconds, so a tenth of a microsecond
  shows on a busy machine, too. *As in Docker*: connections are tracked anyway, because of the NAT that Docker
  has in a container for its DNS. A larger packet pays no more, nor do 64 kB of TCP that the kernel handles in
  one piece.
- *stop*: from SIGTERM to the end of the program. Sidegate's includes the end of its client.

Each cell says median (least to most). The ratio is that of the medians. On a busy machine the best is the
better estimate, of a time the least and of a rate the most; the load average before and after tells how busy
it was. Figures of different machines, or of different runs on a shared one, do not compare; those of one
table do.
"""
