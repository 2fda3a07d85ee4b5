import asyncio
import re

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from healthcheck.facts import Facts, WarningFacts
from healthcheck.verdict import STATES
from tests.unit.endpoint import Response, get, serving
from tests.unit.facts import HEALTHY, client, facts


def _scrape(seen: Facts = HEALTHY, accept: str = "*/*") -> Response:
    async def scenario() -> Response:
        async with serving(lambda: seen) as port:
            return await get(port, "/metrics", accept=accept)

    return asyncio.run(scenario())


def _samples(families: list[Metric]) -> dict[tuple[str, ...], float]:
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def _openmetrics(body: str) -> list[Metric]:
    return list(openmetrics.text_string_to_metric_families(body))  # type: ignore[no-untyped-call]


def test_every_fact_has_its_metric() -> None:
    """The whole exposition of a healthy sidecar, parsed by Prometheus' own client."""
    answer = _scrape()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(answer.body))
    expected: dict[tuple[str, ...], float] = {
        ("sidegate_info", "openvpn", "1.2.3"): 1,
        ("sidegate_ready",): 1,
        ("sidegate_state_since_timestamp_seconds",): 1_750_000_000.25,
        ("sidegate_client_restarts_total",): 3,
        ("sidegate_repairs_total",): 7,
        ("sidegate_networks",): 1,
        ("sidegate_overlaps",): 1,
    }
    expected |= {("sidegate_state", state): float(state == "up") for state in STATES}
    expected |= {("sidegate_check", name): 1 for name in ("network", "policy", "client", "tunnel", "replies")}
    assert _samples(families) == expected


def test_a_broken_sidecar_shows_in_its_gauges() -> None:
    """Ready, the state and the broken checks fall to 0 and the others stay."""
    seen = facts(state="reconnecting", client=client(alive=False))
    samples = _samples(list(text_string_to_metric_families(_scrape(seen).body)))
    assert samples["sidegate_ready",] == 0
    assert samples["sidegate_state", "up"] == 0
    assert samples["sidegate_state", "reconnecting"] == 1
    assert samples["sidegate_check", "client"] == samples["sidegate_check", "replies"] == 0
    assert samples["sidegate_check", "network"] == samples["sidegate_check", "policy"] == 1


def test_warnings_are_counted_by_what_they_are_about() -> None:
    """Two of one kind are a 2; a text, which can be anything, is no label."""
    seen = tuple(WarningFacts(name=name, text="?") for name in ("hook", "hook", "dns"))
    samples = _samples(list(text_string_to_metric_families(_scrape(facts(warnings=seen)).body)))
    assert {k: v for k, v in samples.items() if k[0] == "sidegate_warnings"} == {
        ("sidegate_warnings", "hook"): 2,
        ("sidegate_warnings", "dns"): 1,
    }


def test_prometheus_gets_openmetrics_when_it_asks_for_it() -> None:
    """The format follows the Accept header, as Prometheus sends it."""
    answer = _scrape(accept="application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert _samples(_openmetrics(answer.body))["sidegate_ready",] == 1


@pytest.mark.parametrize(
    "accept", ["application/openmetrics-text; version=new", "text/plain; version=;;,,", "\xff"]
)
def test_an_accept_header_of_nonsense_gets_the_plain_format(accept: str) -> None:
    """Whoever cannot be understood gets what everybody reads."""
    answer = _scrape(accept=accept)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert list(text_string_to_metric_families(answer.body))


def test_metric_names_follow_the_conventions() -> None:
    """Our prefix, snake case, base units, `_total` on counters only, and a help text with each."""
    body = _scrape().body
    families = list(text_string_to_metric_families(body))
    assert len(families) == 10
    for family in families:
        assert re.fullmatch(r"sidegate(_[a-z]+)*", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(ms|millis\w*|minutes|hours|kb|mb|percent|count)(_|$)", family.name)
        assert not family.name.endswith("_total")  # the parser takes it off counters
        is_counter = family.type == "counter"
        assert all(sample.name.endswith("_total") == is_counter for sample in family.samples)
        assert family.type in {"counter", "gauge"}
        if "timestamp" in family.name or "since" in family.name:
            assert family.name.endswith("_seconds")
