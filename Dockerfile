# syntax=docker/dockerfile:1
# One build and one image per program:
#
#   docker build --target ingress .     (or worker, or simulator; without: both)
#   docker build --target symbols --output symbols .   the debug symbols of the binaries
#
# Dependencies are a layer of their own, which only a change of Cargo.lock or of a
# Cargo.toml builds again.

FROM rust:1.95-bookworm AS chef
RUN cargo install --locked cargo-chef@0.1.78
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path /recipe.json

FROM chef AS build
ARG PACKAGES="--package regimen-ingress --package regimen-worker --package regimen-simulator"
COPY rust-toolchain.toml ./
COPY --from=plan /recipe.json /recipe.json
# hadolint ignore=SC2086
RUN cargo chef cook --profile dist --locked $PACKAGES --recipe-path /recipe.json
COPY . .
# Lines and variables go to a file beside each binary; function names stay in it, for
# backtraces and flame graphs.
# hadolint ignore=SC2086
RUN cargo build --profile dist --locked $PACKAGES \
    && mkdir /out /symbols \
    && for name in ingress worker simulator; do \
        binary=regimen-$name; \
        objcopy --only-keep-debug "target/dist/$binary" "/symbols/$binary.debug"; \
        objcopy --strip-debug --add-gnu-debuglink="/symbols/$binary.debug" \
            "target/dist/$binary" "/out/$binary"; \
    done

FROM scratch AS symbols
COPY --from=build /symbols /

# No package is added: root certificates are part of the binaries.
FROM debian:bookworm-slim AS runtime
USER 10001:10001
STOPSIGNAL SIGTERM

FROM runtime AS simulator
COPY --from=build /out/regimen-simulator /usr/local/bin/
ENV LISTEN_ADDR=0.0.0.0:8090
EXPOSE 8090
ENTRYPOINT ["regimen-simulator"]

FROM runtime AS worker
COPY --from=build /out/regimen-worker /usr/local/bin/
COPY --chmod=0755 deploy/ready.sh /usr/local/bin/ready
ENV METRICS_ADDR=0.0.0.0:9091
EXPOSE 9091
HEALTHCHECK --interval=5s --timeout=3s --retries=6 CMD ["ready", "9091"]
ENTRYPOINT ["regimen-worker"]

FROM runtime AS ingress
COPY --from=build /out/regimen-ingress /usr/local/bin/
COPY --chmod=0755 deploy/ready.sh /usr/local/bin/ready
ENV LISTEN_ADDR=0.0.0.0:8080 METRICS_ADDR=0.0.0.0:9090
EXPOSE 8080 9090
HEALTHCHECK --interval=5s --timeout=3s --retries=6 CMD ["ready", "8080"]
ENTRYPOINT ["regimen-ingress"]

# Both programs, for platforms that build one image and are told what to start.
FROM runtime AS all
COPY --from=build /out/regimen-ingress /out/regimen-worker /usr/local/bin/
CMD ["regimen-ingress"]
