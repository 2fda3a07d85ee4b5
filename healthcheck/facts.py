"""What health has to know, as frozen values that the entrypoint fills in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFacts:
    """The VPN client."""

    name: str
    alive: bool = False
    pid: int | None = None
    stopped: bool = False
    """Somebody has stopped its process, and nothing passes its tunnel until it goes on."""
    connected: bool = False
    """The client itself says that it holds its session, or nothing more can be known of it."""
    stands: str = "holds its session"
    """What `connected` means, in words that follow the client's name; empty while it is not."""
    detail: str = ""
    """Where the client stands, in its own words."""
    failure: str | None = None
    """Why the last attempt failed; None once the tunnel is up."""
    server: str | None = None
    pushed: tuple[str, ...] = ()
    next_attempt: float | None = None
    """Unix time of the next attempt, in seconds, while the back-off runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelFacts:
    """The tunnel's link."""

    interface: str
    up: bool
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFacts:
    """The target that is asked through the tunnel."""

    target: str
    alive: bool = False
    """It answered since the tunnel came up, and has not failed too often since."""
    failures: int = 0
    """How often in a row it did not answer, the last ask included."""
    problem: str | None = None
    """Why the last ask was not answered; None where it was, or where nobody was asked yet."""
    round_trip_seconds: float | None = None
    """From the last ask that was answered to its answer."""
    asks_total: int = 0
    failed_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFacts:
    """The kill switch that is on."""

    problem: str | None = None
    """Why the gate is not closed as wanted; None while the kernel holds it so."""
    repairs: int = 0
    """How often it was mended because somebody had changed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """One network on the private side, of one family."""

    interface: str
    network: str
    address: str
    gateway: str | None = None
    table: int | None = None
    problem: str | None = None
    """Why replies from this network cannot be kept; None if they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFacts:
    """The kernel's answer to which way a reply from `source` to `destination` leaves."""

    source: str
    destination: str
    problem: str | None = None
    """What the kernel would do instead of the gateway; None where it is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapFacts:
    """A route of the tunnel that covers a network in use on the private side."""

    route: str
    network: str
    seen: str
    """How we know that the network is in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningFacts:
    """Something that should be looked at, and does not make the sidecar unready."""

    name: str
    """What it is about, in a word or two of few values: it labels a metric."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it, at one moment."""

    version: str
    state: str
    """starting, connecting, up, reconnecting, stopping, stopped or failed."""
    since: float
    """Unix time in seconds at which that state began."""
    client: ClientFacts
    tunnel: TunnelFacts | None = None
    probe: ProbeFacts | None = None
    """None where nobody is asked through the tunnel."""
    gate: GateFacts | None = None
    """None without a kill switch."""
    networks: tuple[NetworkFacts, ...] = ()
    policy_problem: str | None = None
    """Why rules and routes do not stand as wanted; None if they do."""
    replies: tuple[ReplyFacts, ...] = ()
    overlaps: tuple[OverlapFacts, ...] = ()
    warnings: tuple[WarningFacts, ...] = ()
    restarts: int = 0
    """How often the client was started again."""
    repairs: int = 0
    """How many changes to rules and routes were made after the first pass."""
