package outgoing_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/imapi/imapi/outgoing"
)

func TestURLs(t *testing.T) {
	long := "https://app.example/" + strings.Repeat("a", outgoing.MaxURL)
	for _, test := range []struct {
		url                string
		public, privateToo bool // whether it is accepted
	}{
		{"https://app.example", true, true},
		{"https://app.example/hooks?key=1", true, true},
		{"https://app.example:8443/", true, true},
		{"https://app.example./", true, true},
		{"https://xn--bcher-kva.example/", true, true},
		{"HTTPS://APP.EXAMPLE/", true, true},
		{"https://8.8.8.8/", true, true},
		{"https://[2600::1]:443/", true, true},
		{"https://intranet/", true, true}, // depends on its address
		{"https://user_name.app.example/", true, true},

		{"http://app.example/", false, true}, // depends on its address
		{"http://127.0.0.1:8080/", false, true},
		{"http://[::1]/", false, true},
		{"http://localhost:3000/", false, true},
		{"https://localhost/", false, true},
		{"https://LOCALHOST./", false, true},
		{"https://x.localhost/", false, true},
		{"https://10.1.2.3/", false, true},
		{"https://[::ffff:10.1.2.3]/", false, true},
		{"https://[fd12::1]/", false, true},

		{"http://8.8.8.8/", false, false},
		{"https://169.254.169.254/latest/meta-data", false, false},
		{"https://[fe80::1%25eth0]/", false, false},
		{"https://[::127.0.0.1]/", false, false},
		{"https://0.0.0.0/", false, false},
		{"https://0/", false, false},
		{"https://127.1/", false, false},
		{"https://2130706433/", false, false},
		{"https://0x7f000001/", false, false},
		{"https://0x7f.0.0.1/", false, false},
		{"https://0177.0.0.1/", false, false},
		{"https://127.0.0.1./", false, false},
		{"", false, false},
		{"app.example", false, false},
		{"//app.example/", false, false},
		{"https:app.example", false, false},
		{"https:///path", false, false},
		{"https://:443/", false, false},
		{"https://app.example:/", false, false},
		{"https://app.example:0/", false, false},
		{"https://app.example:65536/", false, false},
		{"https://app.example:http/", false, false},
		{"https://user:secret@app.example/", false, false},
		{"https://user@app.example/", false, false},
		{"https://app.example/#part", false, false},
		{"https://app.example/#", false, false},
		{"https://app..example/", false, false},
		{"https://.example/", false, false},
		{"https://app%2eexample/", false, false},
		{"https://app.example%00/", false, false},
		{"https://app,example/", false, false},
		{"https://bücher.example/", false, false},
		{"https://app.example/a b", false, false},
		{"https://app.example/\r\nHost: x", false, false},
		{" https://app.example/", false, false},
		{"https://app.example/\x00", false, false},
		{"https://" + strings.Repeat("a", 64) + ".example/", false, false},
		{"https://" + strings.Repeat("a.", 127) + "example/", false, false},
		{"ftp://app.example/", false, false},
		{"file:///etc/passwd", false, false},
		{"unix:///run/app.sock", false, false},
		{"gopher://127.0.0.1/", false, false},
		{"javascript:alert(1)", false, false},
		{long, false, false},
	} {
		for _, allowPrivate := range []bool{false, true} {
			want := test.public
			if allowPrivate {
				want = test.privateToo
			}
			if err := outgoing.CheckURL(test.url, allowPrivate); (err == nil) != want {
				t.Errorf("%.60q, private allowed %t: %v, want it accepted: %t", test.url, allowPrivate, err, want)
			}
		}
	}
}

// FuzzURL: an accepted URL has an allowed scheme, a host that is a name or an allowed address, and
// nothing that another URL parser could read as a different host. A refusal does not quote the URL.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"https://app.example:8443/hooks?key=1", "http://127.0.0.1/", "https://[::ffff:a00:1]/", "https://a@b/",
		"https://a.example\\@b.example/", "https://127.1/", "https://[fe80::1%25lo]/", "https://a.example#@b/",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, allowPrivate bool) {
		err := outgoing.CheckURL(text, allowPrivate)
		if err != nil {
			const marker = "zq-marker-77"
			if e := outgoing.CheckURL(text+marker, allowPrivate); e != nil && strings.Contains(e.Error(), marker) {
				t.Errorf("the refusal quotes the URL: %v", e)
			}
			return
		}
		u, err := url.Parse(text)
		if err != nil {
			t.Fatalf("%q is accepted, but %v", text, err)
		}
		if u.Scheme != "https" && (u.Scheme != "http" || !allowPrivate) || u.User != nil || u.Fragment != "" {
			t.Errorf("%q is accepted", text)
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(text), "http"), "s")
		authority, found := strings.CutPrefix(rest, "://")
		authority, _, _ = strings.Cut(authority, "/")
		authority, _, _ = strings.Cut(authority, "?")
		if !found || authority != strings.ToLower(u.Host) || strings.ContainsAny(authority, "@\\%# ") {
			t.Errorf("%q is accepted with the host %q", text, u.Host)
		}
		addr, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			return
		}
		addr = addr.Unmap()
		if addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() || addr.Zone() != "" ||
			!allowPrivate && (addr.IsPrivate() || addr.IsLoopback()) {
			t.Errorf("%q is accepted", text)
		}
	})
}
