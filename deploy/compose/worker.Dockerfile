# A worker: one program, the pinned playwright-core, Node and browsers.
# Build it from the root of the repository: docker build -f deploy/compose/worker.Dockerfile .
#
# By default it stands on Playwright's own image of the pinned release, which has all three browsers. A plain Debian
# gets Debian's headless Chromium and Node instead: --build-arg WORKER_BASE=debian:trixie-slim
ARG WORKER_BASE=mcr.microsoft.com/playwright:v1.65.1-noble

FROM golang:1.26-trixie AS build
ENV CGO_ENABLED=0 GOWORK=off
WORKDIR /src
# What is imported changes less often than what imports it.
COPY streams/go.mod streams/go.sum streams/
COPY shared/go.mod shared/go.sum shared/
COPY services/worker/go.mod services/worker/go.sum services/worker/
RUN cd services/worker && go mod download
COPY streams streams
COPY shared shared
COPY services/worker services/worker
ARG VERSION=dev
RUN cd services/worker && go build -trimpath -o /out/pwdist-worker \
	-ldflags "-s -w -X github.com/playwright-distributed/playwright-distributed/shared/telemetry.Version=$VERSION" .

FROM ${WORKER_BASE} AS base
RUN if ! command -v node >/dev/null; then \
		apt-get update \
		&& apt-get install -y --no-install-recommends nodejs chromium-headless-shell fonts-liberation fonts-noto-color-emoji \
		&& rm -rf /var/lib/apt/lists/*; \
	fi
RUN useradd --system --uid 10001 --user-group --home-dir /tmp --no-create-home pwdist

# npm stays behind: nothing needs it later.
FROM base AS playwright
RUN if ! command -v npm >/dev/null; then apt-get update && apt-get install -y --no-install-recommends npm; fi
WORKDIR /opt/pwdist/playwright
COPY services/worker/playwright/package.json services/worker/playwright/package-lock.json services/worker/playwright/.npmrc ./
RUN npm ci --omit=dev --ignore-scripts

FROM base
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="playwright-distributed worker" \
	org.opencontainers.image.description="A browser of a pool of Playwright browsers" \
	org.opencontainers.image.source="https://github.com/playwright-distributed/playwright-distributed" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION"
COPY --from=playwright /opt/pwdist/playwright /opt/pwdist/playwright
COPY --from=build /out/pwdist-worker /usr/local/bin/
# The pages in the browser share every port of this container, loopback included, but they cannot open a Unix socket.
ENV HOME=/tmp PWDIST_ADMIN__LISTEN=unix:///tmp/pwdist-admin.sock
USER 10001:10001
EXPOSE 3131
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["/usr/local/bin/pwdist-worker", "--check-health"]
ENTRYPOINT ["/usr/local/bin/pwdist-worker"]
