# Two images, neither of which runs as root; docs/containers.md says how to use them.
#   docker build --target predict --tag rnnflow-predict .    predicts with ONNX files: no PyTorch, DVC or Prefect
#   docker build --target worker --tag rnnflow-worker .      a worker of a Prefect work pool

FROM python:3.11.14-slim-bookworm AS base
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --uid 1000 --create-home --home-dir /var/lib/rnnflow --shell /usr/sbin/nologin rnnflow


# Both environments are made without pip in them, by the pip of the base image, with the versions of the lock.
FROM base AS source
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY rnnflow rnnflow


FROM source AS predict-environment
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/rnnflow \
    && pip --python /opt/rnnflow install --constraint requirements.lock .


FROM base AS predict
COPY --from=predict-environment /opt/rnnflow /opt/rnnflow
ENV PATH=/opt/rnnflow/bin:$PATH
USER 1000
WORKDIR /data
ENTRYPOINT ["rnnflow"]
CMD ["--help"]


FROM source AS worker-environment
# PyTorch's CPU build. For GPUs: --build-arg PIP_EXTRA_INDEX_URL= takes the one with CUDA from PyPI.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ARG EXTRAS=pipeline,fast,flow
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/rnnflow \
    && pip --python /opt/rnnflow install --constraint requirements.lock ".[$EXTRAS]"


FROM base AS worker
# Git and SSH to clone, publish and reach DVC remotes. tini as process 1 reaps what runs leave behind, which Prefect's
# worker would not. Debian removes old versions from its mirrors, so that pinned ones could not be installed for long.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client tini \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner rnnflow /opt/rnnflow-compiled
COPY --from=worker-environment /opt/rnnflow /opt/rnnflow
ENV PATH=/opt/rnnflow/bin:$PATH \
    PREFECT_HOME=/var/lib/rnnflow/worker \
    RNNFLOW_STATE=/var/lib/rnnflow/state \
    RNNFLOW_CACHE=/opt/rnnflow-compiled \
    DO_NOT_TRACK=1 \
    DVC_NO_ANALYTICS=1 \
    GIT_HTTP_LOW_SPEED_LIMIT=1 \
    GIT_HTTP_LOW_SPEED_TIME=60 \
    GIT_TERMINAL_PROMPT=0
USER 1000
# Code compiled for another CPU or another version of the engine is not used; the first training then compiles anew.
RUN rnnflow warmup
# Prefect reads prefect.toml in the folder where the worker starts. Everything else of the project comes by Git.
WORKDIR /opt/rnnflow-settings
COPY prefect.toml flows/process_worker.py ./
ENTRYPOINT ["tini", "--"]
CMD ["python", "process_worker.py", "--pool", "rnnflow-cpu-pool"]
