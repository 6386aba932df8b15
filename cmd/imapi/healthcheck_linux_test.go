package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestHealthcheckOverHTTP2 checks what the command says of a server that accepts a request over
// HTTP/2 and does not answer it. Only on Linux does SSL_CERT_FILE make the command trust it.
func TestHealthcheckOverHTTP2(t *testing.T) {
	t.Parallel()
	var protocol atomic.Int64 // of the last request
	hangs := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		protocol.Store(int64(r.ProtoMajor))
		<-r.Context().Done()
	}))
	hangs.EnableHTTP2 = true
	hangs.StartTLS()
	t.Cleanup(hangs.Close)
	trusted := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hangs.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	for timeout := 300 * time.Millisecond; protocol.Load() == 0; timeout *= 2 { // on a slow machine the first may not reach it
		r := s.runIn([]string{"SSL_CERT_FILE=" + trusted}, "", "healthcheck", "--server", hangs.URL, "--timeout", timeout.String())
		if r.status != 1 || !strings.Contains(r.diag, hangs.URL+" did not answer in time") {
			t.Fatalf("%+v", r)
		}
	}
	if protocol.Load() != 2 {
		t.Errorf("it was asked over HTTP/%d", protocol.Load())
	}
}
