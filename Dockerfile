# One static binary in an empty image.
#
#   docker build -t penstock .                                  builds it from source
#   tests/cluster/image.sh                                      builds it on this machine and packs it (target `prebuilt`)
#
# The certificates of public authorities are in the image for backends whose TLS settings name none; the API server's come
# with the service account.
ARG RUST_VERSION=1.95

FROM scratch AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Penstock" \
      org.opencontainers.image.description="Kubernetes ingress controller with Application Gateway semantics" \
      org.opencontainers.image.source="https://github.com/penstock/penstock" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# By number, so that `runAsNonRoot` can be checked without a passwd file.
USER 65532:65532
EXPOSE 9090
ENTRYPOINT ["/penstock"]
CMD ["run"]

# A static binary that is already built, and the certificates, from the build context.
FROM base AS prebuilt
ARG BINARY=target/image/penstock
ARG CERTIFICATES=target/image/ca-certificates.crt
COPY ${CERTIFICATES} /etc/ssl/certs/ca-certificates.crt
COPY ${BINARY} /penstock

FROM docker.io/library/rust:${RUST_VERSION}-bookworm AS builder
WORKDIR /src
COPY . .
# With --target the flags are for the binary alone: build scripts and procedural macros cannot be linked statically.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    target="$(uname -m)-unknown-linux-gnu" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked -p penstock --bin penstock --target "$target" \
    && cp "target/$target/release/penstock" /penstock

FROM base
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder /penstock /penstock
