# One image for every role: `docker run … IMAGE web`, worker, encoder, trainer, clock, migrate, or
# `run` for everything in one container. docs/how-to/deploy.md has the commands.
FROM python:3.11-slim-bookworm AS build

# E.g. --build-arg PIP_ARGS="--extra-index-url URL" for the CPU build of torch, see README
ARG PIP_ARGS=""

WORKDIR /opt/attune
RUN python -m venv .venv
COPY requirements.txt requirements-tracing.txt ./
RUN .venv/bin/pip install --no-cache-dir --disable-pip-version-check ${PIP_ARGS} -r requirements.txt

# --build-arg TRACING=1 adds what TRACING=1 needs when the image runs
ARG TRACING=""
RUN test -z "${TRACING}" || .venv/bin/pip install --no-cache-dir --disable-pip-version-check \
    ${PIP_ARGS} -r requirements-tracing.txt

COPY Procfile LICENSE ./
COPY schemas schemas
COPY connectors connectors
COPY ranking ranking
COPY gateway gateway
COPY demo demo

# The network that web processes encode queries with, so that no container needs another's files.
RUN mkdir -p /var/lib/attune \
 && ATTUNE_HOME=/var/lib/attune .venv/bin/python -c \
    "from ranking.catalog.encoder import Encoder; Encoder(1).export()" \
 && .venv/bin/python -m compileall -q schemas connectors ranking gateway


FROM python:3.11-slim-bookworm

RUN useradd --uid 10001 --home-dir /var/lib/attune --shell /usr/sbin/nologin attune
COPY --from=build /opt/attune /opt/attune
COPY --from=build --chown=attune:attune /var/lib/attune /var/lib/attune

USER attune
WORKDIR /opt/attune
ENV ATTUNE_HOME=/var/lib/attune \
    BIND=0.0.0.0 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    HF_HUB_OFFLINE=1
EXPOSE 8080
STOPSIGNAL SIGTERM

# Whichever role the container runs.
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 \
    CMD ["/opt/attune/.venv/bin/python", "-m", "gateway", "alive"]

ENTRYPOINT ["/opt/attune/.venv/bin/python", "-m", "gateway"]
CMD ["web"]
