# medssr with the versions of constraints.txt, and vLLM: docker build --tag medssr .
# Run: docker run --gpus all --volume "$PWD:/work" medssr medssr-pipeline model=qwen3_4b_base trainer=gpu rollout=vllm
# The wheels of torch and vLLM bring CUDA; the machine brings the NVIDIA driver and its container toolkit.
FROM python:3.11.11-slim-bookworm

# A compiler for the kernels that torch and vLLM compile at their first start. Any user can write to /work, also where no
# volume is mounted there.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc g++ git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home medssr \
    && install --directory --mode=1777 /work

WORKDIR /opt/medssr
COPY pyproject.toml constraints.txt README.md LICENSE CITATION.cff ./
COPY conf conf
COPY hydra_plugins hydra_plugins
COPY medssr medssr
RUN pip install --no-cache-dir --constraint constraints.txt '.[vllm,slurm]'

# Not root, so that what a run writes to a volume belongs to a user: docker run --user "$(id -u):$(id -g)" for another.
USER 1000
ENV HF_HOME=/work/.huggingface
WORKDIR /work
CMD ["medssr", "--help"]
