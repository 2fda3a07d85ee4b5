"""What openvpn's events mean: they are folded into the report for people and the supervisor. No IO here."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from entrypoint.clients import management, ovpn_pushed
from entrypoint.clients.base import Report

NAMES_MAX = 3
"""Servers' names that are told; a provider's file may have dozens."""
VARIABLES_MAX = 50_000
"""The most variables that are kept; five for each of 10,000 routes."""

_DETAILS = {
    "CONNECTING": "connecting",
    "RESOLVE": "looking up the server's name",
    "TCP_CONNECT": "opening the TCP connection to the server",
    "WAIT": "waiting for the server's first answer",
    "AUTH": "authenticating (a server that does not accept our certificate may say nothing)",
    "AUTH_PENDING": "waiting for a second factor",
    "GET_CONFIG": "asking the server for the options",
    "ASSIGN_IP": "giving the tunnel its address",
    "ADD_ROUTES": "adding the routes",
    "CONNECTED": "connected",
    "RECONNECTING": "reconnecting",
    "EXITING": "ending",
}
REFUSED = "the server refused the user name or password"
CHECK_THEM = (
    "check VPN_USERNAME and VPN_PASSWORD (providers often have other ones for OpenVPN than for the account), "
    "and VPN_TOTP_SECRET where a code is wanted"
)
_NO_NAME = "the server's name cannot be looked up: check `remote` and the container's DNS"
_SILENT = "the server fell silent"
_REASONS = {
    "tls-error": "no TLS session with the server: it does not answer (wrong port, a firewall, or another key "
    "of tls-auth or tls-crypt)",
    "ping-restart": _SILENT,
    "ping-exit": _SILENT,
    "server_poll": "the server gave no answer; the next one that the file names has its turn, or it again",
    "remote-exit": "the server ended the session",
    "server-pushed-connection-reset": "the server ended the session",
    "connection-reset": "the server closed the connection",
    "connection-failed": "the server cannot be reached",
    "init_instance": "the server cannot be reached",
    "dns-resolution-error": _NO_NAME,
    "Could not determine IPv4/IPv6 protocol": _NO_NAME,
    "process-push-msg-failed": "openvpn could not do what the server pushed",
    "auth-failure": REFUSED,
    "auth-failure (auth-token)": "the session's token has expired",
    "auth-temp-failure (server temporary reject)": "the server asked to come back later",
}
# What CONNECTED adds (initialization_sequence_completed of init.c): the session stands in all three cases.
_FLAWS = {
    "ROUTE_ERROR": "connected, but the kernel refused a route: openvpn's log says which",
    "ERROR": "connected, but with errors: openvpn's log says which",
}
_UNTRUSTED = (
    "no TLS session with the server: it answers, but one side does not trust the other's certificate; "
    "compare ca, peer-fingerprint, verify-x509-name and cert with what your VPN gives out, and the clock"
)
_TEMPORARY = re.compile(r"TEMP(\[[^\]]*\])?:?\s*")


class Progress:
    """One attempt, as its events tell it."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Begin with nothing; `names` are those of the servers, for people."""
        self.report = Report()
        self._names = f" ({', '.join(names[:NAMES_MAX])})" if names else ""
        self.state: str | None = None
        """The last state's name; None before the first."""
        self._before = ""
        """Why it began anew."""
        self._known = False
        """Whether that is said in words of ours."""
        self._heard = False
        """Whether the server has answered, and TLS has not come about yet."""
        self._variables: dict[str, str] | None = None

    def feed(self, event: management.Event) -> Report:
        """Take one event in; returns the report as it is then."""
        match event:
            case management.State():
                self._on_state(event)
            case management.Refusal():
                text, rejected = _refusal(event)
                self.fail(text, rejected=rejected)
            case management.Tunnel(up=True):
                self._variables = {}
            case management.Tunnel():
                self.report = replace(
                    self.report, interface=None, addresses=(), resolvers=(), search=(), pushed=()
                )
            case management.Variable() if self._variables is not None:
                if len(self._variables) < VARIABLES_MAX:
                    self._variables[event.name] = event.value
            case management.VariablesEnd() if self._variables is not None:
                self._on_variables(self._variables)
                self._variables = None
            # What ends it may only follow from what was named before.
            case management.Fatal() if not self.report.failure:
                self.fail(event.text)
            case management.Request() if not self.report.connected:
                self.fail(
                    f"openvpn asks for what nobody is there to do, which is not supported yet: {event.text}"
                )
        return self.report

    def fail(self, text: str, *, rejected: bool = False) -> Report:
        """Name the attempt's failure; returns the report with it."""
        self.report = replace(self.report, connected=False, failure=text, rejected=rejected)
        return self.report

    def lost(self) -> Report:
        """Take in that openvpn has closed the channel; returns the report."""
        self.report = replace(self.report, connected=False)
        return self.report

    def _on_state(self, state: management.State) -> None:
        self.state = state.name
        connected = state.name == "CONNECTED"
        detail = _DETAILS.get(state.name, state.name.lower())
        if connected:
            detail = _FLAWS.get(state.reason, detail)
            self._before, self._known = "", False
        elif state.name in {"RECONNECTING", "EXITING"}:
            untrusted = state.reason == "tls-error" and self._heard
            known = _UNTRUSTED if untrusted else _REASONS.get(state.reason)
            if known or not self._known:
                # A word of openvpn's own never takes the place of what people can read.
                self._before, self._known = known or state.reason, known is not None
            if self._before == _NO_NAME:
                self._before += self._names
        self._heard = state.name == "AUTH"
        if self._before:
            detail = f"{detail} ({self._before})"
        self.report = replace(
            self.report,
            connected=connected,
            detail=detail,
            addresses=state.addresses or self.report.addresses,
            server=state.server or self.report.server,
        )
        if connected:
            self.report = replace(self.report, failure=None, rejected=False)

    def _on_variables(self, variables: Mapping[str, str]) -> None:
        local = (variables.get("ifconfig_local"), variables.get("ifconfig_ipv6_local"))
        self.report = replace(
            self.report,
            interface=variables.get("dev"),
            addresses=tuple(ovpn_pushed.addresses(text for text in local if text)) or self.report.addresses,
            server=next(
                ovpn_pushed.addresses((variables.get("trusted_ip", ""), variables.get("trusted_ip6", ""))),
                None,
            )
            or self.report.server,
            resolvers=ovpn_pushed.resolvers(variables),
            search=ovpn_pushed.search(variables),
            pushed=ovpn_pushed.texts(variables),
            routes=ovpn_pushed.routes(variables),
        )


def _refusal(refusal: management.Refusal) -> tuple[str, bool]:
    """Return the failure, and whether asking again is of no use."""
    reason = refusal.reason or ""
    if refusal.about != "Auth":
        return (
            f"the passphrase does not open the {refusal.about.lower()}; correct VPN_KEY_PASSPHRASE "
            "(or VPN_PASSWORD, where that is it)"
        ), True
    if refusal.challenge:
        return f"the server wants a one-time code ({refusal.challenge.text}); set VPN_TOTP_SECRET", True
    text, rejected = REFUSED, True
    if temporary := _TEMPORARY.match(reason):
        text, rejected = "the server refused for the time being", False
        reason = reason[temporary.end() :]
    told = f"{text}: {reason}" if reason else text
    return (f"{told}; {CHECK_THEM}" if rejected else told), rejected
