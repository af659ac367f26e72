# The proxy, and pwdist-events to read the pool's events with: two static programs and nothing else.
# Build it from the root of the repository: docker build -f deploy/compose/proxy.Dockerfile .
FROM golang:1.26-trixie AS build
ENV CGO_ENABLED=0 GOWORK=off
WORKDIR /src
# What is imported changes less often than what imports it.
COPY streams/go.mod streams/go.sum streams/
COPY shared/go.mod shared/go.sum shared/
COPY services/proxy/go.mod services/proxy/go.sum services/proxy/
RUN cd services/proxy && go mod download && cd ../../streams && go mod download
COPY streams streams
COPY shared shared
COPY services/proxy services/proxy
ARG VERSION=dev
RUN module=github.com/playwright-distributed/playwright-distributed \
	&& flags="-s -w -X $module/shared/telemetry.Version=$VERSION -X main.version=$VERSION" \
	&& (cd services/proxy && go build -trimpath -ldflags "$flags" -o /out/pwdist-proxy .) \
	&& (cd streams && go build -trimpath -ldflags "$flags" -o /out/pwdist-events ./cmd/pwdist-events)

FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="playwright-distributed proxy" \
	org.opencontainers.image.description="The WebSocket endpoint of a pool of Playwright browsers" \
	org.opencontainers.image.source="https://github.com/playwright-distributed/playwright-distributed" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION"
# For a Redis behind TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ /usr/local/bin/
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s CMD ["/usr/local/bin/pwdist-proxy", "--check-health"]
ENTRYPOINT ["/usr/local/bin/pwdist-proxy"]
