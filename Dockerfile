# One image for every service of docker-compose.yml; each is started with a command of its own.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# For a mirror of the package index; nothing of this stage but the packages is in the image.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
RUN python -m venv /build && python -m venv --without-pip /opt/starfold
WORKDIR /source
COPY requirements/ requirements/
# What builds the package is locked too: the entry of setuptools in the developers' lock file.
RUN awk '/^[^ ]/ { wanted = /^setuptools==/ } wanted' requirements/all.txt > /build/setuptools.txt \
    && /build/bin/pip install --require-hashes -r /build/setuptools.txt
RUN /build/bin/pip --python /opt/starfold/bin/python install --require-hashes -r requirements/services.txt
COPY pyproject.toml README.md LICENSE ./
COPY command_api/ command_api/
COPY ops/ ops/
COPY projector/ projector/
COPY query_api/ query_api/
COPY shared/ shared/
RUN /build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /build/wheels . \
    && /build/bin/pip --python /opt/starfold/bin/python install --no-deps --no-index /build/wheels/*.whl

FROM ${PYTHON_IMAGE}
# A new volume takes the owner and mode of the folder that it is mounted on.
RUN groupadd --gid 10001 starfold \
    && useradd --uid 10001 --gid starfold --no-create-home --home-dir /var/lib/starfold \
        --shell /usr/sbin/nologin starfold \
    && install -d -o starfold -g starfold -m 0755 /etc/starfold /var/lib/starfold/issued \
    && cd /var/lib/starfold/issued \
    && install -d -o starfold -g starfold -m 0755 \
        postgres redis command-api projector query-api worker operator \
    && cd /var/lib/starfold && install -d -o starfold -g starfold -m 0700 secrets .starfold ledger
COPY --from=build /opt/starfold /opt/starfold
# What `docker compose exec` starts knows nothing of the settings that the service was started with.
RUN mkdir /opt/starfold/commands \
    && printf '#!/bin/sh\nexec python -m ops.init run /opt/starfold/bin/starfold "$@"\n' \
        > /opt/starfold/commands/starfold \
    && chmod 0755 /opt/starfold/commands/starfold
ENV PATH=/opt/starfold/commands:/opt/starfold/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1
USER starfold
WORKDIR /var/lib/starfold
ENTRYPOINT ["python", "-m", "ops.init", "run"]
CMD ["starfold", "--help"]
