# Two images, each of one static binary: docker build --target controller . and --target speaker.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -o / \
    -ldflags "-s -w -X github.com/herald-lb/herald/internal/version.Version=${VERSION} -X github.com/herald-lb/herald/internal/version.Commit=${COMMIT}" \
    ./controller ./speaker

FROM scratch AS controller
ARG VERSION=devel
ARG COMMIT=unknown
LABEL org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${COMMIT}
COPY --from=build /controller /controller
USER 65534:65534
ENTRYPOINT ["/controller"]

# Root, for NET_RAW reaches no other user; the manifest drops all other capabilities.
FROM scratch AS speaker
ARG VERSION=devel
ARG COMMIT=unknown
LABEL org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${COMMIT}
COPY --from=build /speaker /speaker
USER 0:0
ENTRYPOINT ["/speaker"]
