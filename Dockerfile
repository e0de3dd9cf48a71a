# syntax=docker/dockerfile:1
# Builds a static binary and ships it alone: no shell, no libc, not root, fit for a read-only root.
#
#     docker build -t hookgate .
#     docker run --read-only -p 8080:8080 -v "$PWD/etc:/etc/hookgate:ro" hookgate
FROM rust:1.95.0-alpine AS build
RUN apk add --no-cache build-base cmake perl linux-headers ca-certificates
WORKDIR /src
# What the compiler reads: src and its texts, and the presets that are embedded. build.rs watches providers/.
COPY Cargo.toml Cargo.lock build.rs ./
COPY providers providers
COPY src src
# Crates and what is built of them outlive a change of the code. musl links statically by default.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin hookgate \
    && install -m 0755 target/release/hookgate /hookgate \
    && ! ldd /hookgate 2>/dev/null | grep -q '=>' \
    && install -d -o 65532 -g 65532 -m 0700 /state

FROM scratch
LABEL org.opencontainers.image.title="hookgate" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /hookgate /usr/local/bin/hookgate
COPY --from=build --chown=65532:65532 /state /var/lib/hookgate
# The config is a mounted directory, so that a change of a ConfigMap arrives. State, if any, is a volume at /var/lib/hookgate.
# The health check asks the running gateway: `run` leaves its addresses in $RUNTIME_DIRECTORY, so a config that is broken later does not make the
# container unhealthy. On a read-only root without a volume there, it asks the address that the config names, else 127.0.0.1:9091.
# The config needs a health listener.
ENV HOOKGATE_CONFIG=/etc/hookgate/config.yaml RUNTIME_DIRECTORY=/var/lib/hookgate
USER 65532:65532
EXPOSE 8080 9091
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/hookgate", "health"]
ENTRYPOINT ["/usr/local/bin/hookgate"]
CMD ["run"]
