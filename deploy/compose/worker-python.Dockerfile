# The image of the service worker-python in docker-compose.yml: Python, the package percentdelta, and what
# scripts import. Built from the top folder, with or without BuildKit:
#
#   docker build -f deploy/compose/worker-python.Dockerfile -t percentdelta-python .

ARG BASE=debian:bookworm-slim

# Packages before sources: an edit builds the package again, but installs nothing.
FROM ${BASE} AS package
LABEL org.percentdelta.stage=package
RUN apt-get update \
 && apt-get install --yes --no-install-recommends protobuf-compiler python3-pip python3-setuptools \
      python3-wheel
WORKDIR /percentdelta
COPY proto proto
COPY client/python client/python
RUN pip install --no-index --no-build-isolation --no-deps --no-compile --root-user-action=ignore \
      --target=/package ./client/python

FROM ${BASE}
# Debian's names of what scripts import besides NumPy. The reference BLAS, which PyTorch would take without
# OpenBLAS, is five times slower.
ARG PYTHON_PACKAGES="python3-torch libopenblas0-pthread python3-tqdm"
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-grpcio python3-numpy python3-protobuf \
      ${PYTHON_PACKAGES} \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=package /package/ /usr/lib/python3/dist-packages/
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
CMD ["python3"]
