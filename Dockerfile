# One image for every service: `docker run IMAGE market-producer …`. `make image` builds it and prints its size.
# The sandbox (a stand-in for the exchange) has an image of its own: `make image ARGS='--target sandbox'`.
#
# Nothing is resolved anew: every package comes from a lock file and is checked by its hash, and no system package is
# installed. So what is left to pin is the two bases, by their digests, wherever the image is built for good:
#   make image ARGS='--build-arg BASE=python:3.12-slim-bookworm@sha256:… --build-arg BUILD_BASE=python:3.12-bookworm@sha256:…'
# Both must have the same Python; the second one has a compiler as well, and stays behind.
ARG BASE=python:3.12-slim-bookworm
ARG BUILD_BASE=python:3.12-bookworm

FROM ${BUILD_BASE} AS build
WORKDIR /source
# Where packages come from and who is trusted for it is the builder's affair: pip.conf and ca.pem are secrets of the
# build (see image/build.py), read while it runs and kept in no layer.
ENV PIP_CONFIG_FILE=/run/secrets/pip.conf PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 BACKPACK_STREAMS_COMPILED=1
COPY requirements/build.txt requirements/image.txt requirements/
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \
    python3 -m venv /build && python3 -m venv --without-pip /opt/backpack-streams \
    && /build/bin/python -m pip install --quiet --only-binary :all: --require-hashes -r requirements/build.txt \
    && /build/bin/python -m pip --python /opt/backpack-streams/bin/python install --quiet --no-compile --only-binary :all: --require-hashes -r requirements/image.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY schemas schemas
COPY services services
RUN /build/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
    && /build/bin/python -m pip --python /opt/backpack-streams/bin/python install --quiet --no-compile --no-deps --no-index dist/*.whl \
    && /build/bin/python -m pip --python /opt/backpack-streams/bin/python check \
    && /opt/backpack-streams/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/backpack-streams/lib \
    && mkdir /data
# Debug symbols are a third of it. What auditwheel rewrote (*.libs) is left as it is: stripping may break it.
RUN find /opt/backpack-streams/lib -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} +
# One time for all files, so that two builds of one commit are the same to the last byte.
ARG SOURCE_DATE_EPOCH=0
RUN find /opt/backpack-streams /data -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# The same with the sandbox in it, which the services' image does not carry.
FROM build AS build-sandbox
RUN /build/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir sandbox ./services/backpack_sandbox \
    && /build/bin/python -m pip --python /opt/backpack-streams/bin/python install --quiet --no-compile --no-deps --no-index sandbox/*.whl \
    && /build/bin/python -m pip --python /opt/backpack-streams/bin/python check \
    && /opt/backpack-streams/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/backpack-streams/lib
ARG SOURCE_DATE_EPOCH=0
RUN find /opt/backpack-streams -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM ${BASE} AS service
COPY --from=build /opt/backpack-streams /opt/backpack-streams
# Where `record` puts its files if a volume is mounted there. Nothing else is ever written but /tmp.
COPY --from=build --chown=10001:10001 /data /data
ENV PATH=/opt/backpack-streams/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BACKPACK_STREAMS_METRICS_HOST=* \
    BACKPACK_STREAMS_METRICS_PORT=9400
WORKDIR /data
USER 10001:10001
EXPOSE 9400
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "backpack_streams.runtime.probe"]
ENTRYPOINT ["backpack-streams"]
CMD ["--help"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="backpack-streams" \
      org.opencontainers.image.description="Backpack Exchange's market and perpetual-futures data in your own Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM service AS sandbox
COPY --from=build-sandbox /opt/backpack-streams /opt/backpack-streams
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "backpack_streams.runtime.probe", "http://127.0.0.1:18766/api/v1/ping"]
CMD ["sandbox", "--host", "*"]
EXPOSE 18765 18766 18767

# The last stage is the one that is built unless another is named.
FROM service
