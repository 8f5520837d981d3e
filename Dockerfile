# One image for every service of docker-compose.yml; each service starts its own command.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# For a mirror of the package index; the image gets only the packages of this stage.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all:
RUN python -m venv /build && python -m venv --without-pip /opt/starfold
WORKDIR /source
COPY requirements/ requirements/
# The build tool is locked too: the entry of setuptools in the developers' lock file.
RUN awk '/^[^ ]/ { wanted = /^setuptools==/ } wanted' requirements/all.txt > /build/setuptools.txt \
    && /build/bin/pip install --require-hashes -r /build/setuptools.txt
# `traced` has what traces need too.
ARG REQUIREMENTS=services
RUN /build/bin/pip --python /opt/starfold/bin/python install --require-hashes -r requirements/$REQUIREMENTS.txt
COPY pyproject.toml README.md LICENSE ./
COPY client/ client/
COPY command_api/ command_api/
COPY console/ console/
COPY ops/ ops/
COPY pages/ pages/
COPY projector/ projector/
COPY query_api/ query_api/
COPY shared/ shared/
COPY web/ web/
RUN /build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /build/wheels ./client . \
    && /build/bin/pip --python /opt/starfold/bin/python install --no-deps --no-index /build/wheels/*.whl
# Remove packages' own tests, and the highlighters of languages other than Python.
RUN cd /opt/starfold/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && find pygments/lexers -name '[a-z]*' -type f ! -name 'python.*' -delete \
    && /opt/starfold/bin/python -m ops.cli --help > /build/help

FROM ${PYTHON_IMAGE}
# A new volume takes the owner and mode of the folder that it is mounted on.
RUN groupadd --gid 10001 starfold \
    && useradd --uid 10001 --gid starfold --no-create-home --home-dir /var/lib/starfold \
        --shell /usr/sbin/nologin starfold \
    && install -d -o starfold -g starfold -m 0755 /etc/starfold /var/lib/starfold/issued \
    && cd /var/lib/starfold/issued \
    && install -d -o starfold -g starfold -m 0755 \
        postgres redis schema first-steps command-api projector query-api worker console operator \
        cluster cluster-node prometheus grafana \
    && cd /var/lib/starfold && install -d -o starfold -g starfold -m 0700 secrets .starfold ledger
COPY --from=build /opt/starfold /opt/starfold
# Commands of `docker compose exec` do not inherit the settings of the running service.
# `answers PORT PATH` is for health checks: a Python for each would cost a tenth of a core.
RUN mkdir /opt/starfold/commands && cd /opt/starfold/commands \
    && printf '#!/bin/sh\nexec python -m ops.compose.issued /opt/starfold/bin/starfold "$@"\n' > starfold \
    && printf '%s\n' '#!/bin/bash' \
        'exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1' \
        'printf "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" "$2" >&3' \
        'read -r -t 4 _ status _ <&3 && [ "$status" = 200 ]' > answers \
    && chmod 0755 starfold answers
ENV PATH=/opt/starfold/commands:/opt/starfold/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1
USER starfold
WORKDIR /var/lib/starfold
ENTRYPOINT ["python", "-m", "ops.compose.issued"]
CMD ["starfold", "--help"]
