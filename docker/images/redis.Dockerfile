# Redis or Valkey from a Debian package, to be used like the public image: `/data`, user 999, flags or a command as arguments.
ARG BASE
FROM ${BASE}
ARG PACKAGE=redis-server
# Before the package, which would take any free number: volumes written under the public image keep their owner.
RUN groupadd --system --gid 999 redis \
 && useradd --system --uid 999 --gid 999 --home-dir /data --no-create-home --shell /usr/sbin/nologin redis \
 && apt-get update \
 && apt-get install --yes --no-install-recommends "$PACKAGE" \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 # Whoever starts it may not have to know which of the two it is.
 && for verb in server cli; do \
      [ -e /usr/bin/redis-$verb ] || ln -s valkey-$verb /usr/bin/redis-$verb; \
    done \
 && mkdir /data && chown 999:999 /data
COPY redis-entrypoint /usr/local/bin/entrypoint
USER 999:999
WORKDIR /data
VOLUME /data
EXPOSE 6379
ENTRYPOINT ["entrypoint"]
CMD ["redis-server"]
