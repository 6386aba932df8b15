//go:build !cgo && !windows

package supported

var _ int = "building SQLite takes a C compiler, such as gcc, and CGO_ENABLED=1"
