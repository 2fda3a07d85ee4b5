"""Whose configuration a text is. No IO here."""

WIREGUARD, OPENVPN = "wireguard", "openvpn"
_SECTIONS = frozenset({"[interface]", "[peer]"})
"""Every WireGuard configuration has them, and no OpenVPN one can have."""
_OPENVPNS = frozenset(
    {
        *("client", "tls-client", "remote", "dev", "dev-type", "proto", "server", "nobind", "cipher"),
        *("auth-user-pass", "persist-tun", "remote-cert-tls", "pkcs12", "config"),
        *("<connection>", "<ca>", "<cert>", "<key>", "<tls-auth>", "<tls-crypt>", "ca", "cert", "key"),
    }
)
"""How at least one line of every OpenVPN configuration begins."""


def kind_of(text: str) -> str | None:
    """Return "wireguard" or "openvpn"; None for a text that can be neither, such as a web page."""
    lines = [line.lower().split() for line in text.splitlines()]
    if any("".join(words) in _SECTIONS for words in lines):
        return WIREGUARD
    return OPENVPN if any(words[0].removeprefix("--") in _OPENVPNS for words in lines if words) else None
