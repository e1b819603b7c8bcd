FROM python:3.13-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build

# The environment has no pip of its own: nothing can be installed into the final image by accident.
RUN python -m venv --without-pip /opt/phin-connectwise
COPY requirements.lock ./
RUN pip --python /opt/phin-connectwise/bin/python install --no-compile --require-hashes -r requirements.lock

# What builds the project is locked too, among the tools of development.
COPY requirements-dev.lock ./
RUN sed -n '/^setuptools==/,/# via/p' requirements-dev.lock > build.lock \
 && pip install --require-hashes -r build.lock

COPY . .
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/phin-connectwise/bin/python install --no-compile --no-index --no-deps dist/*.whl

# Packages' tests and type stubs are for their developers. Compiled is only what our modules import: it has to be here, as
# nothing can be written later, and the rest of the packages is never loaded.
WORKDIR /opt/phin-connectwise
RUN find . -type d \( -name tests -o -name testing \) -prune -exec rm -r {} + \
 && find . -name '*.pyi' -delete \
 && bin/python -c "import pkgutil, psycopg; \
    ours = [__import__(name) for name in ('cwclient', 'messages', 'store', 'worker')]; \
    names = [m.name for p in ours for m in pkgutil.walk_packages(p.__path__, p.__name__ + '.')]; \
    [__import__(name) for name in names if not any(part in name for part in ('__main__', 'asyncapi', 'migrations'))]"


FROM python:3.13-slim

LABEL org.opencontainers.image.title="phin-connectwise" \
      org.opencontainers.image.description="Sets ConnectWise Manage agreement additions to Phin's billable users"

COPY --from=build /opt/phin-connectwise /opt/phin-connectwise
# For files that commands read or write. Everything else stays as it is: the root file system may be read-only, the user any.
RUN install --directory --owner=10001 --group=0 --mode=0775 /data

ENV PATH=/opt/phin-connectwise/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /data
USER 10001:10001
STOPSIGNAL SIGTERM
# Without the packages' paths, whose reading would take most of its time.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-I", "-S", "/opt/phin-connectwise/lib/python3.13/site-packages/worker/healthcheck.py"]
ENTRYPOINT ["phin-connectwise"]
CMD ["worker"]
