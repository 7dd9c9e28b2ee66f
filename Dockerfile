# One image for web, worker, beat and the egress broker; docker-compose.yml says which command each runs.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md ./
RUN python -m venv /opt/routekit \
    && /opt/routekit/bin/pip install --no-cache-dir --disable-pip-version-check . -c constraints.txt \
    && /opt/routekit/bin/pip uninstall --yes routekit-site

FROM python:3.11-slim-bookworm
ENV PATH=/opt/routekit/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ROUTEKIT_DATA_DIR=/var/lib/routekit
RUN groupadd --system --gid 10001 routekit \
    && useradd --system --uid 10001 --gid routekit --home-dir /nonexistent --shell /usr/sbin/nologin routekit \
    && install -d -o routekit -g routekit -m 0700 /var/lib/routekit /var/lib/routekit-egress
COPY --from=build /opt/routekit /opt/routekit
WORKDIR /srv/routekit
COPY manage.py ./
COPY routekit_site ./routekit_site
COPY approvals ./approvals
COPY agents ./agents
COPY traces ./traces
COPY templates ./templates
COPY static ./static
RUN python -m compileall -q .
USER routekit
EXPOSE 8000
CMD ["daphne", "-v", "0", "-b", "0.0.0.0", "-p", "8000", "--websocket-max-message-size", "8192", "--websocket-max-frame-size", "8192", "routekit_site.asgi:application"]
