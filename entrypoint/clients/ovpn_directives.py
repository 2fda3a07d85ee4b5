"""What openvpn's directives are to us: which start programs, which make a server, which are left out."""

# fmt: off
PROGRAMS = frozenset({
    "up", "down", "route-up", "route-pre-down", "ipchange", "tls-verify", "auth-user-pass-verify",
    "client-connect", "client-disconnect", "client-crresponse", "learn-address", "tls-crypt-v2-verify",
    "plugin", "iproute", "dns-updown", "engine", "pkcs11-providers", "providers",
})
"""Directives that start a program or load its code."""

OTHER_PURPOSE = frozenset({
    "help", "version", "genkey", "mktun", "rmtun", "test-crypto", "show-ciphers", "show-curves",
    "show-digests", "show-engines", "show-gateway", "show-groups", "show-pkcs11-ids", "show-tls",
})
# fmt: on
"""Directives with which openvpn does something else and ends."""

SERVER = frozenset({"server", "server-bridge", "server-ipv6"})

_FOREGROUND = "openvpn stays in the foreground, where it is supervised"
_RIGHTS = "openvpn keeps the rights that a container is given; it needs them to mend the tunnel"
_LOG = "openvpn's log goes into the container's log"
_FILES = "the container's file system may be read-only"
_WINDOWS = "it is for Windows"
_NO_MORE = "openvpn has it no more, and would end"
LEFT_OUT = {
    "daemon": _FOREGROUND,
    "cd": "relative files are looked for beside the configuration",
    "user": _RIGHTS,
    "group": _RIGHTS,
    "chroot": _RIGHTS,
    "setcon": _RIGHTS,
    "mlock": "without CAP_IPC_LOCK and CAP_SYS_RESOURCE openvpn may die of it",
    "log": _LOG,
    "log-append": _LOG,
    "syslog": _LOG,
    "writepid": _FILES,
    "status": _FILES,
    "memstats": _FILES,
    "auth-retry": "after a refusal Sidegate tries again, with growing delays",
    "keysize": _NO_MORE,
    "key-method": _NO_MORE,
    "ncp-disable": _NO_MORE,
    "no-iv": _NO_MORE,
    "block-outside-dns": _WINDOWS,
    "register-dns": _WINDOWS,
    "ip-win32": _WINDOWS,
    "win-sys": _WINDOWS,
    "windows-driver": _WINDOWS,
    "tap-sleep": _WINDOWS,
    "dhcp-renew": _WINDOWS,
    "dhcp-release": _WINDOWS,
    "dhcp-pre-release": _WINDOWS,
    "pause-exit": _WINDOWS,
    "service": _WINDOWS,
    "allow-nonadmin": _WINDOWS,
    "show-net-up": _WINDOWS,
    "msg-channel": _WINDOWS,
}
"""Directives that are left out, and why."""

REPLACED = {"tls-remote": "verify-x509-name NAME name"}
"""Directives that openvpn has no more and that may not just be left out, and what stands in their place."""
