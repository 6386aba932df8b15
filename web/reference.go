package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io"
	"net/http"
	"strings"
)

//go:embed reference/index.html reference/reference.js reference/scalar.js.gz
var referenceFiles embed.FS

// referenceSecurity allows what the renderer needs: scripts from this server and requests to it.
// The renderer sets style attributes, which nothing stricter than 'unsafe-inline' allows.
const referenceSecurity = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data: blob:; font-src data:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Reference serves the API reference at /docs, with a form to try each operation. The page makes no
// request to another host. It signs visitors in as [Handler] does; with nil, visitors paste tokens.
func Reference(signIn *SignIn) http.Handler {
	read := func(name string) []byte {
		body, err := referenceFiles.ReadFile("reference/" + name)
		if err != nil {
			panic("web: the embedded reference cannot be read: " + err.Error()) // impossible, because it is embedded
		}
		return body
	}
	page := read("index.html")
	off, on := newFile("index.html", page), newFile("index.html", bytes.Replace(page, []byte(signInOff), []byte(signInOn), 1))
	script, renderer := newFile("reference.js", read("reference.js")), newFile("scalar.js", read("scalar.js.gz"))

	mux := http.NewServeMux()
	mux.HandleFunc("GET /docs", func(w http.ResponseWriter, r *http.Request) {
		if signIn != nil && signIn.refuses(r) == "" {
			on.serveWith(referenceSecurity, w, r)
		} else {
			off.serveWith(referenceSecurity, w, r)
		}
	})
	mux.Handle("GET /docs/{$}", http.RedirectHandler("/docs", http.StatusPermanentRedirect))
	mux.HandleFunc("GET /docs/reference.js", func(w http.ResponseWriter, r *http.Request) {
		script.serveWith(referenceSecurity, w, r)
	})
	mux.HandleFunc("GET /docs/scalar.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			w.Header().Set("Content-Encoding", "gzip")
			renderer.serveWith(referenceSecurity, w, r)
			return
		}
		w.Header().Set("Content-Type", renderer.kind)
		if z, err := gzip.NewReader(bytes.NewReader(renderer.body)); err == nil {
			_, _ = io.Copy(w, z) //nolint:gosec // the file is our own
		}
	})
	return mux
}

// acceptsGzip reports whether a client accepts gzip.
func acceptsGzip(accept string) bool {
	for coding := range strings.SplitSeq(accept, ",") {
		name, parameters, _ := strings.Cut(coding, ";")
		weight := strings.ReplaceAll(parameters, " ", "")
		if name = strings.TrimSpace(name); (name == "gzip" || name == "*") && strings.Trim(weight, "q=0.") != "" || name == "gzip" && weight == "" {
			return true
		}
	}
	return false
}
