package outgoing

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// MaxURL is the maximum length of a URL, in bytes.
const MaxURL = 2048

// CheckURL refuses a URL that a client would not call, as far as that can be decided without DNS.
// Its error completes the sentence "the URL …" and does not quote the URL, whose path or query may
// be secret.
func CheckURL(text string, allowPrivate bool) error {
	_, err := parse(text, allowPrivate)
	return err
}

// parse checks a URL as [CheckURL] does, and returns it.
func parse(text string, allowPrivate bool) (*url.URL, error) {
	if len(text) > MaxURL {
		return nil, errors.New("is longer than " + strconv.Itoa(MaxURL) + " bytes")
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return nil, errors.New("must be in ASCII, without white space: percent-encode the path, and write the host as xn--…")
		}
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	switch {
	case u.Scheme == "http" && !allowPrivate:
		return nil, errors.New("must begin with https://")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("must begin with https:// or, for an address that is not public, http://")
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.User != nil:
		return nil, errors.New("must not have a user or a password")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return nil, errors.New("must not have a fragment")
	}
	if err := checkPort(u); err != nil {
		return nil, err
	}
	return u, checkHost(u.Hostname(), u.Scheme == "http", allowPrivate)
}

func checkPort(u *url.URL) error {
	port := u.Port()
	if port == "" && !strings.HasSuffix(u.Host, ":") {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("must have a port from 1 to 65535, or no port")
	}
	return nil
}

// checkHost refuses a host that is an address that may not be called, or not a name in DNS.
func checkHost(host string, plain, allowPrivate bool) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return errNever // only link-local addresses have zones
		}
		return checkAddress(addr, plain, allowPrivate)
	}
	name := strings.TrimSuffix(host, ".")
	if len(name) > 253 {
		return errors.New("has a host that is too long")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, hostCharacters) != "" {
			return errors.New("has a host that is not a name")
		}
	}
	last := strings.ToLower(labels[len(labels)-1])
	if last[0] >= '0' && last[0] <= '9' {
		// Some resolvers read 127.1, 0x7f000001 and 2130706433 as addresses. No top-level domain
		// begins with a digit.
		return errors.New("has a host that is neither a name nor a complete address")
	}
	if last == "localhost" && !allowPrivate {
		return errNotPublic
	}
	return nil
}

const hostCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

var (
	errNotPublic = errors.New("has an address that is not public")
	errNever     = errors.New("has an address that no receiver has, such as a link-local or reserved one")
	errPlain     = errors.New("must begin with https://: http:// is for addresses that are not public")
)

// checkAddress refuses an address that may not be called. plain is true for http://.
func checkAddress(a netip.Addr, plain, allowPrivate bool) error {
	switch s := scopeOf(a); {
	case s == never:
		return errNever
	case s == private && !allowPrivate:
		return errNotPublic
	case s == public && plain:
		return errPlain
	}
	return nil
}
