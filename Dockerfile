# syntax=docker/dockerfile:1
# Builds a static binary and ships it alone: no shell, no libc, not root, fit for a read-only root.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base cmake ca-certificates
WORKDIR /src
COPY . .
RUN cargo build --release --locked && install -d -o 65532 -g 65532 /state

FROM scratch
LABEL org.opencontainers.image.title="hookgate" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/target/release/hookgate /usr/local/bin/hookgate
COPY --from=build /state /var/lib/hookgate
# The config is a mounted directory, so that a change of a ConfigMap arrives. State, if any, is a volume at /var/lib/hookgate.
ENV HOOKGATE_CONFIG=/etc/hookgate/config.yaml
USER 65532:65532
EXPOSE 8080 9091
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/hookgate", "health"]
ENTRYPOINT ["/usr/local/bin/hookgate"]
CMD ["run"]
