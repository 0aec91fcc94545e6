# qbench in a container, for a CPU:      docker build -t qbench .
# for a GPU (run it with --gpus all):    docker build -t qbench:cuda --build-arg TORCH=https://download.pytorch.org/whl/cu126 --build-arg EXTRA= .
# A run: docker run --rm -v "$PWD:/work" -v qbench-cache:/cache qbench run --methods qca,bleep
FROM python:3.12-slim
ARG TORCH=https://download.pytorch.org/whl/cpu
ARG EXTRA=[cpu]
RUN pip install --no-cache-dir torch torchvision --index-url "$TORCH"
COPY . /src
RUN pip install --no-cache-dir "/src${EXTRA}" && rm -rf /src
RUN useradd --create-home qbench && install -d -o qbench /work /cache
USER qbench
ENV QBENCH_CACHE=/cache
WORKDIR /work
ENTRYPOINT ["qbench"]
CMD ["--help"]
