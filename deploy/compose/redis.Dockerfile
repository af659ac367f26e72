# Redis with the pool's settings and users. Each user's password is made up at the first start.
# Build it from the root of the repository: docker build -f deploy/compose/redis.Dockerfile .
FROM redis:8
# A volume mounted here for the first time gets these folders' owner.
RUN install -d -o redis -g redis /credentials /credentials/proxy /credentials/worker /credentials/consumer
COPY deploy/compose/redis.conf deploy/compose/users.acl deploy/compose/redis-start.sh /etc/pwdist/
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="playwright-distributed redis" \
	org.opencontainers.image.description="Redis with the settings and users of a pool of Playwright browsers" \
	org.opencontainers.image.source="https://github.com/playwright-distributed/playwright-distributed" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION"
USER redis
# NOAUTH is the right answer: Redis serves, and nobody gets in without a password.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD redis-cli ping 2>&1 | grep -q NOAUTH
ENTRYPOINT ["/bin/sh", "/etc/pwdist/redis-start.sh"]
CMD []
