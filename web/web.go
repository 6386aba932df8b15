package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
)

//go:embed dist
var dist embed.FS

// contentSecurity allows the page its own script, style and pictures, requests to its own server,
// and pictures, sound and video that it downloaded. Nothing that a user wrote can become a script:
// there are no inline scripts, and no text becomes HTML (Trusted Types).
const contentSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// signInOff is the mark in the page that the server replaces with signInOn if it would sign
// this visitor in.
const (
	signInOff = `data-sign-in="off"`
	signInOn  = `data-sign-in="on"`
)

// kinds are the media types of the files. Those in the system's table may differ.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}

// file is a file of the page.
type file struct {
	kind, etag string
	body       []byte
}

func newFile(name string, body []byte) file {
	sum := sha256.Sum256(body)
	return file{kinds[path.Ext(name)], `"` + hex.EncodeToString(sum[:16]) + `"`, body}
}

func (f file) serve(w http.ResponseWriter, r *http.Request) { f.serveWith(contentSecurity, w, r) }

// serveWith serves the file with a content security policy.
func (f file) serveWith(policy string, w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-cache") // a newer server may have a newer page
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("ETag", f.etag)
	if r.Header.Get("If-None-Match") == f.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(f.body) // fails only if the browser has disconnected
}

// Handler serves the page at /, its files below /demo/, and the requests of signIn. If that is nil,
// visitors paste tokens.
func Handler(signIn *SignIn) http.Handler {
	mux := http.NewServeMux()
	built, err := fs.Sub(dist, "dist")
	if err == nil {
		err = fs.WalkDir(built, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			body, err := fs.ReadFile(built, name)
			if err != nil {
				return err
			}
			if name != "index.html" {
				mux.HandleFunc("GET /demo/"+name, newFile(name, body).serve)
				return nil
			}
			off, on := newFile(name, body), newFile(name, bytes.Replace(body, []byte(signInOff), []byte(signInOn), 1))
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
				if signIn != nil && signIn.refuses(r) == "" {
					on.serve(w, r)
				} else {
					off.serve(w, r)
				}
			})
			return nil
		})
	}
	if err != nil {
		panic("web: the embedded page cannot be read: " + err.Error()) // impossible, because it is embedded
	}
	if signIn != nil {
		mux.HandleFunc("POST /demo/sign-in", signIn.only(signIn.signIn))
		mux.HandleFunc("POST /demo/proof", signIn.only(signIn.prove))
	}
	return mux
}
