package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/imapi/imapi/internal/await"
)

// overBoth runs a test with a server without TLS and with one with TLS: its URL, and a client that
// speaks only these protocols.
func overBoth(t *testing.T, newServer func(testing.TB, ...string) *server, protocols *http.Protocols, test func(t *testing.T, s *server, url string, browser *http.Client)) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir)
	for name, c := range map[string]struct {
		scheme string
		args   []string
	}{
		"plain": {"http://", nil},
		"TLS":   {"https://", []string{"--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem")}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c.args...)
			transport := &http.Transport{Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: roots}}
			t.Cleanup(transport.CloseIdleConnections)
			browser, url := &http.Client{Transport: transport}, c.scheme+s.addr
			s.startProcess()
			await.Until(t, "the server is ready", func() bool {
				res, err := browser.Get(url + "/readyz")
				if err == nil {
					_ = res.Body.Close()
				}
				return err == nil && res.StatusCode == http.StatusOK
			})
			test(t, s, url, browser)
		})
	}
}

// TestHTTP2 checks that streams work over HTTP/2, with and without TLS.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	overBoth(t, newServer, protocols, func(t *testing.T, s *server, url string, browser *http.Client) {
		// Open more streams than the six connections of a browser over HTTP/1.
		for i := range 20 {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/events", nil)
			req.Header.Set("Authorization", "Bearer "+mintFor(t, readSecret(t, s.data), "bob"))
			res, err := browser.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = res.Body.Close() })
			if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
				t.Fatalf("stream %d: %s %s", i, res.Proto, res.Status)
			}
			b := make([]byte, 6)
			if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "retry:" {
				t.Fatalf("stream %d began with %q, %v", i, b, err)
			}
		}
	})
}

func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "imapi"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return roots
}

func TestPublicKeyAlgorithm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeCertificate(t, dir)
	s := startServer(t, "--auth-algorithm", "ES256", "--auth-public-key", filepath.Join(dir, "cert.pem"))
	// A token with the algorithm of the secret is then refused, even one that the server signed.
	req, _ := http.NewRequest(http.MethodGet, "http://"+s.addr+"/v1/conversations", nil)
	req.Header.Set("Authorization", "Bearer "+mintFor(t, readSecret(t, dataDir(t)), "alice"))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("an HS256 token: %s", res.Status)
	}
}
