//go:build windows

package supported

var _ int = "the server does not run on Windows: use WSL 2 or a container"
