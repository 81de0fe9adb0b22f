# PostgreSQL from a Debian package, with the few variables of the public image that the Compose files and the tests use.
ARG BASE
FROM ${BASE}
ARG VERSION=17
RUN groupadd --system --gid 999 postgres \
 && useradd --system --uid 999 --gid 999 --home-dir /var/lib/postgresql --no-create-home --shell /bin/sh postgres \
 && apt-get update \
 # The package would otherwise make a cluster of its own, which every container would carry along unused.
 && mkdir -p /etc/postgresql-common \
 && echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf \
 && apt-get install --yes --no-install-recommends "postgresql-$VERSION" \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /var/lib/postgresql/data /var/run/postgresql \
 && chown 999:999 /var/lib/postgresql/data /var/run/postgresql \
 && chmod 700 /var/lib/postgresql/data
ENV PATH=/usr/lib/postgresql/$VERSION/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data
COPY postgres-entrypoint /usr/local/bin/entrypoint
USER 999:999
VOLUME /var/lib/postgresql/data
EXPOSE 5432
# Sessions are cut and everything is on disk before it ends; SIGTERM would wait for the clients to leave.
STOPSIGNAL SIGINT
ENTRYPOINT ["entrypoint"]
CMD ["postgres"]
