"""The facts as Prometheus metrics. Importing this costs some 3 MB: it is done at the first scrape."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from healthcheck.facts import Facts, ProbeFacts
from healthcheck.pages import Page
from healthcheck.verdict import STATES, verdict


class FactsCollector(Collector):
    """Reads the facts anew at each scrape; it keeps no number of its own that could drift from them."""

    def __init__(self, facts: Callable[[], Facts]) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """Give every metric, from one reading of the facts."""
        facts = self._facts()
        judged = verdict(facts)
        yield InfoMetricFamily(
            "sidegate",
            "The running version and the VPN client.",
            value={"version": facts.version, "client": facts.client.name},
        )
        yield _gauge("sidegate_ready", "1 while every check holds and the state is up.", judged.ready)
        state = GaugeMetricFamily("sidegate_state", "1 for the state that holds.", labels=["state"])
        for name in STATES:
            state.add_metric([name], float(name == facts.state))
        yield state
        yield _gauge(
            "sidegate_state_since_timestamp_seconds", "Unix time at which the state began.", facts.since
        )
        check = GaugeMetricFamily("sidegate_check", "1 while the check holds.", labels=["check"])
        for each in judged.checks:
            check.add_metric([each.name], float(each.ok))
        yield check
        if facts.probe:
            yield from _probe(facts.probe)
        if facts.gate:
            yield CounterMetricFamily(
                "sidegate_gate_repairs", "Mendings of the kill switch's rules.", value=facts.gate.repairs
            )
        warnings = GaugeMetricFamily(
            "sidegate_warnings", "What should be looked at, by what it is about.", labels=["warning"]
        )
        for name, number in Counter(warning.name for warning in judged.warnings).items():
            warnings.add_metric([name], float(number))
        yield warnings
        yield CounterMetricFamily(
            "sidegate_client_restarts", "Starts of the VPN client after the first.", value=facts.restarts
        )
        yield CounterMetricFamily(
            "sidegate_repairs", "Changes to rules and routes after the first pass.", value=facts.repairs
        )
        yield _gauge("sidegate_networks", "Networks on the private side.", len(facts.networks))
        yield _gauge(
            "sidegate_overlaps",
            "Routes of the tunnel that cover a private network in use.",
            len(facts.overlaps),
        )


def renderer(facts: Callable[[], Facts]) -> Callable[[str], Page]:
    """Give the function that answers a scrape, from its Accept header."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FactsCollector(facts))

    def render(accept: str) -> Page:
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # it compares a version that is no number with one that is
            encode, content_type = choose_encoder("")
        return Page(200, encode(registry), content_type)

    return render


def _probe(probe: ProbeFacts) -> Iterator[Metric]:
    yield CounterMetricFamily(
        "sidegate_probe_asks", "Asks of the target through the tunnel.", value=probe.asks_total
    )
    yield CounterMetricFamily(
        "sidegate_probe_failures", "Asks that were not answered.", value=probe.failed_total
    )
    if probe.round_trip_seconds is not None:
        yield _gauge(
            "sidegate_probe_round_trip_seconds",
            "From the last ask that was answered to its answer.",
            probe.round_trip_seconds,
        )


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=float(value))
