# One image, three commands: `web` (the default), `scheduler` and `migrate`.
# The database is elsewhere: give DATABASE_URL and PAYGO_SECRET_KEY.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/paygo
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY billing billing
COPY metering metering
COPY migrations migrations
# Extras of pyproject.toml, as [archive].
ARG EXTRAS=""
RUN /opt/paygo/bin/pip install --no-cache-dir --constraint constraints.txt ".${EXTRAS}"

FROM python:3.11-slim-bookworm
# No files from /etc/skel: `paygo demo` and `paygo serve` want a folder that is theirs alone.
RUN groupadd --gid 10001 paygo \
    && useradd --uid 10001 --gid paygo --home-dir /var/lib/paygo --no-create-home --shell /usr/sbin/nologin paygo \
    && install --directory --owner paygo --group paygo --mode 700 /var/lib/paygo
COPY --from=build /opt/paygo /opt/paygo
ENV PATH=/opt/paygo/bin:$PATH \
    PAYGO_DATA_DIR=/var/lib/paygo \
    PAYGO_HOST=0.0.0.0 \
    PAYGO_LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/paygo
EXPOSE 8080
ENTRYPOINT ["paygo"]
CMD ["web"]
