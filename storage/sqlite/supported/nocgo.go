//go:build !cgo && !windows

package supported

var _ int = "SQLite needs a C compiler, such as gcc, and CGO_ENABLED=1"
