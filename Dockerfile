FROM python:3.13-slim AS build
WORKDIR /src
# For the steps in C; the image itself has no compiler.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY constraints.txt pyproject.toml MANIFEST.in README.md LICENSE ./
COPY native native
COPY vortex vortex
COPY vortex_loader vortex_loader
# The loader's image: --build-arg EXTRAS=[loader], and the entry point vortex-loader.
ARG EXTRAS=
RUN python -m venv /opt/vortex && /opt/vortex/bin/pip install --no-cache-dir -c constraints.txt ".$EXTRAS"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home vortex
COPY --from=build /opt/vortex /opt/vortex
ENV PATH=/opt/vortex/bin:$PATH PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2 OPENBLAS_NUM_THREADS=1 VORTEX_HTTP__HOST=0.0.0.0 VORTEX_LOG__FORMAT=json
USER 10001
EXPOSE 9400
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9400/livez', timeout=2)"]
ENTRYPOINT ["vortex"]
CMD ["run", "-c", "/etc/vortex/vortex.toml"]
