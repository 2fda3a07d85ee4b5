"""What is remembered of networks that come and go; who is asked, tests/kernel/test_search.py sees."""

from entrypoint.search import ABSENT_MAX, Search
from tests.unit.wants import container


def test_what_is_remembered_of_networks_that_are_gone_has_an_end() -> None:
    """A router on the link may announce a new one every second; the last ones and those here are kept."""
    search = Search(lambda: None)
    docker = container("172.30.0.2/16", "172.30.0.1")
    for number in range(1000):
        search.ask([docker, container(f"fd01:{number:x}::2/64", "fe80::bad")], [])
    assert len(search.known) == ABSENT_MAX + 2
    assert docker.key in search.known
    assert list(search.known)[-1] == container("fd01:3e7::2/64").key
