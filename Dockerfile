# syntax=docker/dockerfile:1
# `make image` and `make push-image` look up the digest of this name, build from it, and label the image with both.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
WORKDIR /src
# For the steps in C; the image itself has no compiler.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY constraints.txt pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY native native
COPY vortex vortex
COPY vortex_loader vortex_loader
# The loader's image: --build-arg EXTRAS=[loader], and the entry point vortex-loader.
ARG EXTRAS=
ENV VORTEX_REQUIRE_NATIVE=1
RUN python -m venv /opt/vortex && /opt/vortex/bin/pip install --no-cache-dir -c constraints.txt ".$EXTRAS"

FROM ${PYTHON}
ARG PYTHON
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="Vortex" \
      org.opencontainers.image.description="Kinesis in, deduplicated partitioned gzip files out: exactly once" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${PYTHON}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}"
RUN useradd --system --uid 10001 --no-create-home vortex
COPY --from=build /opt/vortex /opt/vortex
ENV PATH=/opt/vortex/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2 OPENBLAS_NUM_THREADS=1 \
    VORTEX_CONFIG=/etc/vortex/vortex.toml VORTEX_DEFAULTS="http.host=0.0.0.0 log.format=json"
USER 10001
EXPOSE 9400
STOPSIGNAL SIGTERM
# Asks where the settings say that the worker listens. Settings in another file: set VORTEX_CONFIG, which both read; all
# settings by variables: set it to nothing.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s CMD ["vortex", "health"]
ENTRYPOINT ["vortex"]
CMD ["run"]
