# One image a program:
#   docker build --target agent   -t pipeops-agent .
#   docker build --target gateway -t pipeops-gateway .
# .git is not part of what is sent: --build-arg PIPEOPS_GIT_COMMIT=$(git rev-parse --short=8 HEAD) says which commit it is.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The folders that a program may write to, made here because the last stage has no step that runs as root.
RUN mkdir -p /out/state

FROM build AS build-agent
ARG PIPEOPS_GIT_COMMIT SOURCE_DATE_EPOCH
RUN cargo build --release --locked --no-default-features --features agent --bin pipeops-agent \
    && cp target/release/pipeops-agent /out/ \
    && /out/pipeops-agent man --dir /out/man

FROM build AS build-gateway
ARG PIPEOPS_GIT_COMMIT SOURCE_DATE_EPOCH
RUN cargo build --release --locked --no-default-features --features gateway --bin pipeops-gateway \
    && cp target/release/pipeops-gateway /out/ \
    && /out/pipeops-gateway man --dir /out/man

# Public roots from the build image: nothing is installed here. 65532 is nobody on any host.
FROM debian:bookworm-slim AS runtime
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY LICENSE /usr/share/doc/pipeops-tunnel/
USER 65532:65532

FROM runtime AS agent
COPY --from=build-agent /out/pipeops-agent /usr/local/bin/
COPY --from=build-agent /out/man /usr/local/share/man/man1
EXPOSE 8080 9091
ENTRYPOINT ["/usr/local/bin/pipeops-agent"]

# Keeps its store below /var/lib/pipeops-gateway: mount a volume there that 65532 may write.
FROM runtime AS gateway
COPY --from=build-gateway --chown=65532:65532 /out/state /var/lib/pipeops-gateway
COPY --from=build-gateway /out/pipeops-gateway /usr/local/bin/
COPY --from=build-gateway /out/man /usr/local/share/man/man1
EXPOSE 8443 8443/udp 8081 9092
VOLUME /var/lib/pipeops-gateway
ENTRYPOINT ["/usr/local/bin/pipeops-gateway"]
