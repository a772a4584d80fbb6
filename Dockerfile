# One image, three commands: `web` (the default), `scheduler` and `migrate`.
# The database is elsewhere: give DATABASE_URL and PAYGO_SECRET_KEY.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/paygo
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY billing billing
COPY metering metering
COPY migrations migrations
RUN /opt/paygo/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/paygo --create-home paygo
COPY --from=build /opt/paygo /opt/paygo
ENV PATH=/opt/paygo/bin:$PATH \
    PAYGO_DATA_DIR=/var/lib/paygo \
    PAYGO_HOST=0.0.0.0 \
    PAYGO_LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER paygo
WORKDIR /var/lib/paygo
EXPOSE 8080
ENTRYPOINT ["paygo"]
CMD ["web"]
