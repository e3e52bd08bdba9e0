# syntax=docker/dockerfile:1
# One build and one image per program: `docker build --target ingress .` (or worker,
# or simulator).

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The cache mounts persist, so that a change does not recompile every dependency;
# the binaries are copied from them to /out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked \
        --package regimen-ingress --package regimen-worker --package regimen-simulator \
    && mkdir /out \
    && cp target/release/regimen-ingress target/release/regimen-worker \
          target/release/regimen-simulator /out/

FROM debian:bookworm-slim AS runtime
# Root certificates for the providers, Stripe and mail; curl for health checks.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home regimen
USER regimen

FROM runtime AS simulator
COPY --from=build /out/regimen-simulator /usr/local/bin/
ENV LISTEN_ADDR=0.0.0.0:8090
EXPOSE 8090
ENTRYPOINT ["regimen-simulator"]

FROM runtime AS worker
COPY --from=build /out/regimen-worker /usr/local/bin/
ENV METRICS_ADDR=0.0.0.0:9091
EXPOSE 9091
ENTRYPOINT ["regimen-worker"]

FROM runtime AS ingress
COPY --from=build /out/regimen-ingress /usr/local/bin/
ENV LISTEN_ADDR=0.0.0.0:8080 METRICS_ADDR=0.0.0.0:9090
EXPOSE 8080 9090
ENTRYPOINT ["regimen-ingress"]
