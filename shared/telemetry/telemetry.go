// Package telemetry is what a program shows of itself: its log, its metrics,
// its health and the private port where they are served.
package telemetry

import (
	"fmt"
	"os"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/playwright-distributed/playwright-distributed/shared/config"
)

// Version is the version of the program, set at link time:
//
//	-ldflags "-X github.com/playwright-distributed/playwright-distributed/shared/telemetry.Version=v1.2.3"
var Version = "dev"

// NewLogger makes the log of a service, on standard error. Format auto is
// console on a terminal and json elsewhere.
func NewLogger(l config.Log, service string) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(l.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey = "time"
	enc.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	enc.EncodeDuration = zapcore.StringDurationEncoder
	format := l.Format
	if format == "" || format == "auto" {
		format = formatFor(os.Stderr)
	}
	cfg := zap.Config{
		Level:            zap.NewAtomicLevelAt(level),
		Encoding:         format,
		EncoderConfig:    enc,
		OutputPaths:      []string{"stderr"},
		ErrorOutputPaths: []string{"stderr"},
		DisableCaller:    true,
		// A trace of where a line was logged says little in a program that
		// wraps its errors.
		DisableStacktrace: true,
	}
	switch format {
	case "json":
		cfg.InitialFields = map[string]any{"service": service}
	case "console":
		cfg.EncoderConfig.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		cfg.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
		cfg.EncoderConfig.ConsoleSeparator = "  "
	default:
		return nil, fmt.Errorf("log.format must be auto, console or json, not %q", l.Format)
	}
	log, err := cfg.Build()
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	if format == "console" {
		// As the name it is a column of its own; as a field it would trail
		// every line.
		log = log.Named(service)
	}
	return log, nil
}

func formatFor(f *os.File) string {
	if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return "console"
	}
	return "json"
}

// NewRegistry makes the registry of a service with the metrics that every
// process has: the Go runtime, the process, and pwdist_build_info, a constant
// 1 with the version in its labels.
func NewRegistry(service string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "pwdist_build_info",
		Help:        "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"service": service, "version": Version, "go": runtime.Version()},
	})
	build.Set(1)
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build,
	)
	return reg
}
