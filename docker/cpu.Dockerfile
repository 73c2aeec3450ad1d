# The service on CPUs. In the repository's root:
#   docker build --file docker/cpu.Dockerfile --tag ner-lightning:cpu .
#   docker run --rm --publish 8000:8000 --volume ./my-tagger:/model:ro ner-lightning:cpu
# The image has no weights: /model is an exported folder, a run or a checkpoint with its backbone's files.
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /source
COPY constraints.txt ./
# torch first, by itself: its CPU build has no CUDA libraries, and a change to the package does not fetch it again
RUN /opt/venv/bin/pip install --constraint constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu torch
# What docs/export.md lists for serving; nothing that only training needs.
RUN /opt/venv/bin/pip install --constraint constraints.txt \
    transformers peft onnxruntime openvino fastapi starlette uvicorn h11 prometheus_client
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY ner_lightning ner_lightning
RUN /opt/venv/bin/pip install --no-deps .

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 tagger
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/tagger
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5m --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["ner-lightning", "serve", "--host", "0.0.0.0", "--port", "8000", "--log_requests"]
CMD ["/model"]
