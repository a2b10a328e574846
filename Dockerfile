# The portal as an image: `docker build -t portal .`, then compose.yaml, or `docker run … portal serve --host 0.0.0.0`.
# It runs as a user without rights, and with a read-only root file system (`--read-only --tmpfs /tmp`).
# For reproducible builds, pin the base by digest as well: python:3.13-slim-trixie@sha256:…

FROM python:3.13-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /opt/portal
RUN python -m venv --without-pip .venv
COPY requirements.txt .
# Wheels only, so no compiler is needed.
RUN python -m pip --python .venv/bin/python install --no-deps --only-binary :all: --require-hashes -r requirements.txt
COPY . .
RUN .venv/bin/pybabel --quiet compile --directory translations \
    && .venv/bin/python -m compileall -q .

FROM python:3.13-slim-trixie
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# pg_dump and pg_restore, for `backup` and `restore`: the client must not be older than the server (Debian 13: 17).
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-client-17 \
    && rm -rf /var/lib/apt/lists/* \
    && python -m pip uninstall --yes --quiet pip \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/portal --shell /usr/sbin/nologin portal \
    && install -d -o portal -g portal -m 0700 /var/lib/portal /backups
COPY --from=build /opt/portal /opt/portal
ENV PATH=/opt/portal/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PORTAL_DATA_DIR=/var/lib/portal
WORKDIR /opt/portal
USER 10001
EXPOSE 5000
STOPSIGNAL SIGTERM
# /healthz, not /readyz: /readyz depends on the database, which a restart would not repair.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/healthz', timeout=4)"]
ENTRYPOINT ["flask", "--app", "wsgi"]
CMD ["serve", "--host", "0.0.0.0", "--port", "5000"]
