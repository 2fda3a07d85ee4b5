# Works with BuildKit and with the builder of Engine 20.10: no mounts, no here-documents.

FROM debian:trixie-slim AS build

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-pip

# openconnect's TPM library asks for udev's rules, and with them for systemd: 27 MB that a container has no use
# of. An empty package of that name stands in their place.
RUN mkdir -p /build/tpm-udev/DEBIAN \
    && printf '%s\n' 'Package: tpm-udev' 'Version: 999' 'Architecture: all' 'Maintainer: Sidegate' \
        'Description: nothing, as a container has no udev' > /build/tpm-udev/DEBIAN/control \
    && dpkg-deb --build /build/tpm-udev

COPY requirements.txt /build/
RUN pip install --require-hashes --only-binary :all: --no-compile --no-cache-dir --root-user-action ignore \
        --target /opt/sidegate --requirement /build/requirements.txt \
    && rm -r /opt/sidegate/bin

COPY entrypoint /opt/sidegate/entrypoint
COPY healthcheck /opt/sidegate/healthcheck
# The bytecode is never compared with the source: an image's files do not change, and a read-only root
# could not take a new one.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/sidegate \
    && printf '#!/bin/sh\nexec python3 -m entrypoint "$@"\n' > /build/sidegate \
    && chmod 755 /build/sidegate


FROM debian:trixie-slim

# python3-minimal with libpython3-stdlib is the interpreter and its library without the rest of `python3`;
# what compiles that library lies in the rest, hence compileall. openconnect knows no server's certificate
# without ca-certificates. No program here needs set-uid bits.
COPY --from=build /build/tpm-udev.deb /usr/share/sidegate/
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        /usr/share/sidegate/tpm-udev.deb \
        ca-certificates dnsmasq-base iproute2 libpython3-stdlib nftables openconnect openvpn python3-minimal tini \
        wireguard-go wireguard-tools \
    && python3 -m compileall -q /usr/lib/python3 /usr/lib/python3.* \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* /var/log/* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

COPY --from=build /opt/sidegate /opt/sidegate
COPY --from=build /build/sidegate /usr/local/bin/sidegate

ENV PYTHONPATH=/opt/sidegate \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /

ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Sidegate" \
      org.opencontainers.image.description="A VPN sidecar whose services stay reachable from the LAN and from the VPN" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT"

# -s: reap also where process 1 is another's (docker run --init, a pod that shares its process namespace).
# -e 143: a SIGTERM in the first 50 ms, before Python listens to it, is an orderly end as well.
ENTRYPOINT ["/usr/bin/tini", "-s", "-e", "143", "--", "/usr/local/bin/sidegate"]
CMD ["run"]
STOPSIGNAL SIGTERM

# Every 5 s: the first "healthy" comes 5 s after the start at the earliest, and each probe costs a process.
# Two in a row: a restart of the client that mends itself between two probes is no reason for an alarm.
# -S: what comes by PYTHONPATH and the standard library is enough, and a sixth of the CPU is saved.
# 60 s: what one attempt may take (VPN_UP_TIMEOUT) counts as starting, so that `depends_on` waits for it.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=2 \
    CMD ["/usr/bin/python3", "-S", "-m", "healthcheck"]
