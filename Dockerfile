# The gateway: two static programs and nothing else, no shell. `make images` builds
# it with the others; by hand, without a registry and without a network:
#
#   make build && docker build -t ghcr.io/wgbgp/wgbgp .
#   docker run -d --name gw --network host --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW \
#     --cap-add NET_BIND_SERVICE --cap-add CHOWN --device /dev/net/tun \
#     --read-only --tmpfs /run -v /etc/wgbgp:/etc/wgbgp:ro ghcr.io/wgbgp/wgbgp
#   docker exec gw wgbgp status
#
# SIGTERM is the orderly leave: give it time with `docker stop -t 30`.
FROM scratch

# /var/run -> /run, so that one tmpfs on /run is enough for a read-only container.
COPY labs/images/rootfs/ /
# WORKDIR makes directories where there is no mkdir.
WORKDIR /run/wgbgpd
WORKDIR /run/wireguard
WORKDIR /etc/wgbgp
WORKDIR /
COPY bin/wgbgpd bin/wgbgp /usr/bin/

ENV PATH=/usr/bin
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/wgbgpd"]
CMD ["-f", "/etc/wgbgp/wgbgpd.toml"]

ARG VERSION=devel
ARG REVISION=
LABEL org.opencontainers.image.title="wgbgp" \
      org.opencontainers.image.description="BGP routing gateway for WireGuard and AWS Transit Gateway" \
      org.opencontainers.image.source="https://github.com/wgbgp/wgbgp" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
