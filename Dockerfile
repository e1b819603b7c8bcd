FROM python:3.13-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build

# The environment has no pip of its own: nothing can be installed into the final image by accident.
RUN python -m venv --without-pip /opt/phin-connectwise
COPY requirements.lock ./
RUN pip --python /opt/phin-connectwise/bin/python install --require-hashes -r requirements.lock

# What builds the project is locked too, among the tools of development.
COPY requirements-dev.lock ./
RUN sed -n '/^setuptools==/,/# via/p' requirements-dev.lock > build.lock \
 && pip install --require-hashes -r build.lock

COPY . .
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/phin-connectwise/bin/python install --no-index --no-deps dist/*.whl


FROM python:3.13-slim

LABEL org.opencontainers.image.title="phin-connectwise" \
      org.opencontainers.image.description="Sets ConnectWise Manage agreement additions to Phin's billable users"

RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin phin
COPY --from=build /opt/phin-connectwise /opt/phin-connectwise

ENV PATH=/opt/phin-connectwise/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /home/phin
STOPSIGNAL SIGTERM
ENTRYPOINT ["phin-connectwise"]
CMD ["worker"]
