# One image for the code server, the webserver and the daemon; `deploy/compose.yaml` starts them from `deploy/entrypoints`.

FROM python:3.11-slim-bookworm AS build
RUN python -m pip install --no-cache-dir --quiet uv && uv venv --quiet /opt/lab-insights
ENV VIRTUAL_ENV=/opt/lab-insights
WORKDIR /build
COPY setup.py requirements.lock ./
# The lock is the constraint: it also holds what only the local stack needs.
RUN uv pip install --quiet --no-cache --constraint requirements.lock --requirement setup.py
COPY lab_insights lab_insights
RUN uv pip install --quiet --no-cache --no-deps .

FROM python:3.11-slim-bookworm
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home lab-insights \
    && install --directory --owner lab-insights /opt/dagster
COPY --from=build /opt/lab-insights /opt/lab-insights
COPY deploy/entrypoints /opt/deploy/entrypoints
COPY deploy/workspace.yaml /opt/deploy/workspace.yaml
COPY dagster.yaml /opt/dagster/dagster.yaml
ENV PATH=/opt/lab-insights/bin:$PATH \
    DAGSTER_HOME=/opt/dagster \
    DAGSTER_EVENT_BATCH_SIZE=500 \
    PYSPARK_PYTHON=/opt/lab-insights/bin/python \
    PYTHONUNBUFFERED=1
USER lab-insights
WORKDIR /opt/dagster
CMD ["/opt/deploy/entrypoints/webserver"]
