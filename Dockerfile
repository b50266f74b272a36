# finetune-tabpfn on a CPU:
#   docker build -t finetune-tabpfn .
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" finetune-tabpfn \
#       fit churn.csv --target churned --out churn.joblib
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu \
    && /opt/venv/bin/pip install --no-cache-dir ".[cli,studies,lora]"

FROM python:3.12-slim
# LightGBM, which tabpfn imports, computes with OpenMP
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 user
COPY --from=build /opt/venv /opt/venv
# caches that whoever runs it may write to
ENV PATH=/opt/venv/bin:$PATH \
    MPLCONFIGDIR=/tmp/matplotlib \
    TABPFN_MODEL_CACHE_DIR=/tmp/tabpfn
USER 1000
WORKDIR /data
ENTRYPOINT ["finetune-tabpfn"]
CMD ["--help"]
