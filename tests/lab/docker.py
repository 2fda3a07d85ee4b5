"""The picture of topology.py with a real Docker Engine on server A instead of the stand-ins for it.

laptop 10.20.0.5                                      server_b 10.50.0.10
    |                                                     |
LAN 10.20.0.0/24                                       10.50.0.0/24
    |                                                     |
server_a 10.20.0.2 --------- internet ---------------- vpn_server
    |  dockerd, its NAT, its bridges                      :
docker network "side" 172.30.0.0/16, gateway .1           :  tunnel 10.99.0.0/24
    |                                                     :
[ container of the sidecar + containers with its network ]+
"""

import http.client
import json
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab import docker_image, docker_parts
from tests.lab.addresses import SERVICE_PORT, V4
from tests.lab.docker_engine import Engine
from tests.lab.namespaces import Namespace
from tests.lab.processes import LoggedProcess
from tests.lab.topology import Lab

CACHE = Path(os.environ.get("SIDEGATE_TEST_CACHE", "/var/cache/sidegate-tests"))
"""Where images and engines live; on a real disk, since Docker's overlays do not stack on another's."""

NETWORK = "side"
"""The Docker network of the picture."""

SERVICE = docker_image.REPOSITORY / "tests/lab/echo_service.py"
"""The service of the picture: it needs Python alone, and the image under test has one."""

TUNNEL = "tun0"


class DockerLab(Lab):
    """The picture, standing while the context lasts."""

    def __init__(self) -> None:
        """Describe it; the context builds it, the image under test included."""
        super().__init__(ipv6=False)
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """Server A's engine."""
        if self._engine is None:
            raise AssertionError("the Docker lab does not stand")
        return self._engine

    def __enter__(self) -> Self:
        archive = docker_image.images(CACHE)
        super().__enter__()
        try:
            self._take_stand_ins_away()
            configuration = docker_parts.docker_configuration(CACHE)
            self._engine = Engine(CACHE, namespace=self.server_a, configuration=configuration).__enter__()
            self.engine.docker("load", "--input", str(archive), timeout=120)
            self.engine.docker(
                *("network", "create", "--subnet", V4.docker, "--gateway", V4.docker_gateway, NETWORK)
            )
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine:
            self._engine.close()
            self._engine = None
        super().__exit__(kind, error, trace)

    def start(self, name: str, *argv: str) -> "Container":
        """Start a container in the background: `argv` are options, image and command of `docker run`."""
        self.engine.docker("run", "--detach", "--name", name, *argv)
        return Container(self.engine, name)

    def run(self, *argv: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a container to its end: `argv` are options, image and command of `docker run`."""
        return self.engine.docker("run", "--rm", *argv, check=False, timeout=timeout)

    def start_service(self, beside: str) -> "Container":
        """Start the service of the picture in the network namespace of the container `beside`."""
        service = self.start(
            "service",
            *("--network", f"container:{beside}", "--volume", f"{SERVICE}:/service.py:ro"),
            *("--entrypoint", "python3", docker_image.IMAGE, "-u", "/service.py", str(SERVICE_PORT)),
        )
        service.wait_for_line("^listening$")
        return service

    def remove_containers(self) -> None:
        """Remove every container, and with `docker compose`'s networks every network but our own."""
        self.engine.remove_all(keep_network=NETWORK)

    def _take_stand_ins_away(self) -> None:
        for stand_in in (self.sidecar, self.neighbour):
            stand_in.ip("link delete eth0")
        self.server_a.ip("link delete docker0", "link delete docker1")
        self.server_a.run("nft", "delete table inet docker")


class Container:
    """A container of the lab's engine, seen by the docker command."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = name
        self._engine = engine

    @property
    def state(self) -> dict[str, Any]:
        """The engine's view: Running, ExitCode, Health, Pid."""
        state: dict[str, Any] = self._engine.inspect(self.name)["State"]
        return state

    @property
    def shown_status(self) -> str:
        """The STATUS column of `docker ps`."""
        shown = self._engine.docker(
            "ps", "--all", "--filter", f"name=^{self.name}$", "--format", "{{.Status}}"
        )
        return shown.stdout.strip()

    @property
    def lines(self) -> list[str]:
        """What it has written so far, on both outputs."""
        said = self._engine.docker("logs", self.name)
        return (said.stdout + said.stderr).splitlines()

    def execute(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program in it, as `docker exec` does."""
        return self._engine.docker("exec", self.name, *argv, check=check)

    def ip_json(self, *argv: str) -> list[dict[str, Any]]:
        """Return what its own iproute2 says."""
        text = self.execute("ip", "-json", *argv).stdout
        return [entry for entry in json.loads(text or "[]") if entry]

    def tunnel_address(self, tunnel: str = TUNNEL) -> str:
        """Return the IPv4 address of its tunnel, a link of this name."""
        (link,) = self.ip_json("-4", "address", "show", "dev", tunnel)
        return str(link["addr_info"][0]["local"])

    def wait_for_line(self, pattern: str, timeout: float = 20.0) -> str:
        """Return the first line of its log that `pattern` is found in."""
        return self._follow(pattern, timeout, "logs", "--follow", self.name)

    def wait_for_health(self, wanted: str, timeout: float, *, since: float) -> None:
        """Wait until the engine says that health has become `wanted`, later than Unix time `since`."""
        self._follow(
            f"health_status: {wanted}",
            timeout,
            *("events", "--since", f"{since:.6f}", "--filter", f"container={self.name}"),
        )

    def health_said(self) -> str:
        """Return what the last health check said."""
        return str(self.state["Health"]["Log"][-1]["Output"]).strip()

    def stop(self, grace: int = 10) -> float:
        """`docker stop` with `grace` seconds; return how long it took, in seconds."""
        begin = time.monotonic()
        self._engine.docker("stop", "--time", str(grace), self.name, timeout=grace + 30)
        return time.monotonic() - begin

    def wait(self, timeout: float = 20.0) -> int:
        """Wait for its end and return the exit code."""
        return int(self._engine.docker("wait", self.name, timeout=timeout).stdout)

    def _follow(self, pattern: str, timeout: float, *argv: str) -> str:
        process = LoggedProcess(
            ["docker", *argv], environment=self._engine.environment, name=f"docker {' '.join(argv)}"
        )
        try:
            return process.wait_for_line(pattern, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.name} said:\n" + "\n".join(self.lines[-40:])) from None
        finally:
            process.kill()


def fetch(host: Namespace, address: str, port: int = SERVICE_PORT, *, timeout: float = 2.0) -> str:
    """Get / by HTTP from a host; return the first line of the answer, or what happened instead."""

    def ask() -> str:
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
        try:
            connection.request("GET", "/")
            body = connection.getresponse().read().decode("utf-8", "replace")
        except TimeoutError:
            return "timed out"
        except (OSError, http.client.HTTPException) as error:
            return str(error)
        finally:
            connection.close()
        return body.partition("\n")[0]

    return host.call(ask)
