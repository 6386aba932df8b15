package main

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// rate is a flag for a number of requests per second.
type rate float64

// maxRate is more than a server can answer.
const maxRate = 1e6

// MarshalText implements [encoding.TextMarshaler].
func (r rate) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatFloat(float64(r), 'f', -1, 64) + "/s"), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *rate) UnmarshalText(b []byte) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(string(b), "/s"), 64)
	if err != nil || !(n >= 0 && n <= maxRate) { // false for NaN, too
		return errors.New("must be a number of requests a second, such as 100/s, up to 1000000/s; 0 sets no limit")
	}
	*r = rate(n)
	return nil
}

// prefixes is a flag for a list of address ranges.
type prefixes []netip.Prefix

// MarshalText implements [encoding.TextMarshaler].
func (p prefixes) MarshalText() ([]byte, error) {
	texts := make([]string, len(p))
	for i, prefix := range p {
		texts[i] = prefix.String()
	}
	return []byte(strings.Join(texts, ",")), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *prefixes) UnmarshalText(b []byte) error {
	var list prefixes
	for text := range strings.SplitSeq(string(b), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			var address netip.Addr
			if address, err = netip.ParseAddr(text); err != nil {
				return errors.New("must be a list of addresses or ranges, such as 127.0.0.1,10.0.0.0/8")
			}
			prefix = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen())
		}
		list = append(list, prefix.Masked())
	}
	*p = list
	return nil
}
