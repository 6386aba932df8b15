package web

import (
	"context"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// People are the users that the demo signs in: nobody else, so that whoever reaches the
// demo by a way that the checks below do not see is still no user of an application.
var People = []string{"Ada", "Grace", "Alan", "Hedy", "Iris"}

// SignIn signs the demo's people in without a token. It is for a server in development: one
// that signs its own tokens and listens on a loopback address. It answers browsers on the
// same machine that opened the demo at its own address, and nobody else:
//
//   - The peer must be on a loopback address, and its process must belong to the user who
//     runs the server (on Linux). This keeps out other users of the machine, and proxies,
//     which run as users of their own: they hide who asks.
//   - Host must be a loopback address or localhost, with the server's port. A page that
//     reaches the server by DNS rebinding has its own name in Host, and so has a proxy that
//     passes Host on.
//   - No header may show a proxy.
//   - Origin and Sec-Fetch-Site must be those of the page itself, and a POST must be JSON,
//     which other pages cannot send without asking first.
//
// What it signs are tokens of [People], without the scope admin.
type SignIn struct {
	// Mint returns a token for one of [People], and when it expires.
	Mint func(user string) (token string, expires time.Time, err error)
	// Prove looks for the text of an erased message in all files of the server.
	Prove func(ctx context.Context, message, text string) (Proof, error)

	// proving is held during a proof, which reads all files of the server.
	proving sync.Mutex
}

// maxRequest bounds the body of a request to the demo. A text may have 64 KiB.
const maxRequest = 128 << 10

// forwarding are headers by which proxies say for whom they ask.
var forwarding = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Real-Ip"}

// refuses returns why a request is not from a browser that may be signed in, or "".
func (s *SignIn) refuses(r *http.Request) string {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return "the connection is unknown"
	}
	server, err := netip.ParseAddrPort(local.String())
	if err != nil || !server.Addr().Unmap().IsLoopback() {
		return "the server is reached by an address that is not loopback"
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return "the peer is not on this machine"
	}
	if !ownHost(r.Host, server.Port()) {
		return "Host is not this server's loopback address"
	}
	for _, name := range forwarding {
		if r.Header.Get(name) != "" {
			return "the request came through a proxy"
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return "the request came from another page"
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Host != r.Host {
			return "the request came from another page"
		}
	}
	if !ownPeer(peer, server) {
		return "the peer's process belongs to another user"
	}
	return ""
}

// ownHost reports whether a Host header names this machine and the server's port.
func ownHost(host string, port uint16) bool {
	name, p, err := net.SplitHostPort(host)
	if err != nil { // a browser leaves the scheme's port out
		name, p = strings.Trim(host, "[]"), strconv.Itoa(int(port))
		if port != 80 && port != 443 {
			return false
		}
	}
	if p != strconv.Itoa(int(port)) {
		return false
	}
	addr, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && addr.IsLoopback()
}

// only serves a request if it may be signed in and its body is JSON.
func (s *SignIn) only(serve func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if why := s.refuses(r); why != "" {
			refuse(w, http.StatusForbidden, "permission_denied", "the demo signs nobody in here: "+why)
			return
		}
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			refuse(w, http.StatusUnsupportedMediaType, "unsupported_media_type", "the body must be application/json")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		serve(w, r)
	}
}

func (s *SignIn) signIn(w http.ResponseWriter, r *http.Request) {
	var in struct {
		User string `json:"user"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "malformed_json", "the body must be an object with the member user")
		return
	}
	if !slices.Contains(People, in.User) {
		refuse(w, http.StatusForbidden, "permission_denied", "user: the demo signs in only "+strings.Join(People, ", "))
		return
	}
	token, expires, err := s.Mint(in.User)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "internal", "no token could be made")
		return
	}
	answer(w, http.StatusOK, "application/json", map[string]any{"user": in.User, "token": token, "expires_at": expires.UTC().Format(time.RFC3339)})
}

func (s *SignIn) prove(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Message string `json:"message_id"`
		Text    string `json:"text"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "malformed_json", "the body must be an object with the members message_id and text")
		return
	}
	if len(in.Text) < MinProof {
		refuse(w, http.StatusUnprocessableEntity, "invalid_request", "text: so short a text is found in any file by chance")
		return
	}
	if !s.proving.TryLock() {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "overloaded", "another proof is under way")
		return
	}
	defer s.proving.Unlock()
	proof, err := s.Prove(r.Context(), in.Message, in.Text)
	if err != nil {
		refuse(w, http.StatusNotFound, "message_not_found", "there is no erased message with this id")
		return
	}
	answer(w, http.StatusOK, "application/json", proof)
}

// refuse answers as the API does: with a problem of RFC 9457.
func refuse(w http.ResponseWriter, status int, code, detail string) {
	answer(w, status, "application/problem+json", map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "code": code, "detail": detail,
	})
}

func answer(w http.ResponseWriter, status int, kind string, body any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails only if the browser is gone
}
