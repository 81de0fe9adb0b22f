# nginx from a Debian package. The configuration comes with the Compose file, as for the public image.
ARG BASE
FROM ${BASE}
RUN apt-get update \
 && apt-get install --yes --no-install-recommends nginx-light \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
EXPOSE 8080
CMD ["nginx", "-g", "daemon off;"]
