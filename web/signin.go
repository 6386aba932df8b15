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

// People are the only users that the demo signs in. So even a visitor who gets past the checks
// below cannot become a user of an application.
var People = []string{"Ada", "Grace", "Alan", "Hedy", "Iris"}

// SignIn signs the demo's people in without a token. It is for a development server, which signs
// its own tokens and listens on a loopback address. It answers only browsers on the same machine
// that opened the demo at its own address:
//
//   - The peer must be on a loopback address, and its process must belong to the user who
//     runs the server (on Linux). This keeps out other users of the machine, and proxies, which
//     hide the client and run as users of their own.
//   - Host must be a loopback address or localhost, with the server's port. A page that reaches the
//     server by DNS rebinding has its own name in Host, and so does a proxy that passes Host on.
//   - No header may come from a proxy.
//   - Origin and Sec-Fetch-Site, if present, must be those of the page itself, and a POST must be
//     JSON, which other pages cannot send without a CORS preflight.
//
// It signs only tokens of [People], without the scope admin.
type SignIn struct {
	// Mint returns a token for one of [People], and the time at which it expires.
	Mint func(user string) (token string, expires time.Time, err error)
	// Prove searches all files of the server for the text of an erased message.
	Prove func(ctx context.Context, message, text string) (Proof, error)

	// proving is held during a proof, which reads all files of the server.
	proving sync.Mutex
}

// maxRequest bounds the body of a request to the demo. A text may have 64 KiB.
const maxRequest = 128 << 10

// forwarding are headers in which proxies name their clients.
var forwarding = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Real-Ip"}

// refuses returns the reason why a request may not be signed in, or "".
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
			refuse(w, http.StatusForbidden, "permission_denied", "the demo does not sign in this request: "+why)
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
		refuse(w, http.StatusInternalServerError, "internal", "no token could be signed")
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
		refuse(w, http.StatusUnprocessableEntity, "invalid_request", "text: must have at least "+strconv.Itoa(MinProof)+" bytes, because a shorter text occurs in files by chance")
		return
	}
	if !s.proving.TryLock() {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "overloaded", "another proof is in progress")
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

// refuse answers with a problem (RFC 9457), as the API does.
func refuse(w http.ResponseWriter, status int, code, detail string) {
	answer(w, status, "application/problem+json", map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "code": code, "detail": detail,
	})
}

func answer(w http.ResponseWriter, status int, kind string, body any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // fails only if the browser has disconnected
}
