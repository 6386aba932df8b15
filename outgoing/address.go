package outgoing

import "net/netip"

// scope is the kind of network that an address belongs to.
type scope uint8

const (
	never   scope = iota // no receiver has such an address
	private              // a network of the operator's own, or this machine
	public               // the internet
)

// special lists the ranges that are not public, from the IANA registries of special-purpose
// addresses, and some that clouds use. The first range that contains an address applies.
var special = []struct {
	prefix netip.Prefix
	scope  scope
}{
	// Services from which machines in a cloud get their credentials. Link-local ones are below.
	{netip.MustParsePrefix("100.100.100.200/32"), never}, // Alibaba Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), never},   // Azure
	{netip.MustParsePrefix("fd00:ec2::/32"), never},      // AWS
	{netip.MustParsePrefix("fd20:ce::254/128"), never},   // Google Cloud

	{netip.MustParsePrefix("10.0.0.0/8"), private},
	{netip.MustParsePrefix("127.0.0.0/8"), private},
	{netip.MustParsePrefix("172.16.0.0/12"), private},
	{netip.MustParsePrefix("192.168.0.0/16"), private},
	{netip.MustParsePrefix("100.64.0.0/10"), private}, // shared by the customers of a carrier (CGNAT)

	{netip.MustParsePrefix("0.0.0.0/8"), never},       // this network; 0.0.0.0 reaches this machine
	{netip.MustParsePrefix("169.254.0.0/16"), never},  // link-local
	{netip.MustParsePrefix("192.0.0.0/24"), never},    // protocol assignments
	{netip.MustParsePrefix("192.0.2.0/24"), never},    // documentation
	{netip.MustParsePrefix("192.88.99.0/24"), never},  // relays of 6to4
	{netip.MustParsePrefix("198.18.0.0/15"), never},   // benchmarks
	{netip.MustParsePrefix("198.51.100.0/24"), never}, // documentation
	{netip.MustParsePrefix("203.0.113.0/24"), never},  // documentation
	{netip.MustParsePrefix("224.0.0.0/3"), never},     // multicast, reserved and broadcast

	{netip.MustParsePrefix("::1/128"), private},
	{netip.MustParsePrefix("fc00::/7"), private}, // unique local

	{netip.MustParsePrefix("2001::/23"), never},     // protocol assignments; Teredo
	{netip.MustParsePrefix("2001:db8::/32"), never}, // documentation
	{netip.MustParsePrefix("2002::/16"), never},     // 6to4
	{netip.MustParsePrefix("3fff::/20"), never},     // documentation
}

var (
	// globalUnicast is the assigned part of IPv6. An address outside it that is not private is
	// link-local, multicast, a form of an IPv4 address, or not assigned.
	globalUnicast = netip.MustParsePrefix("2000::/3")
	// nat64 translates to the IPv4 address in the last 4 bytes. Networks without IPv4 reach every
	// public IPv4 host through it.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// scopeOf returns the scope of an address.
func scopeOf(a netip.Addr) scope {
	a = a.WithZone("").Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		if scopeOf(netip.AddrFrom4([4]byte(b[12:]))) == public {
			return public
		}
		return never // RFC 6052 §3.1: the prefix must not stand for private addresses
	}
	for _, s := range special {
		if s.prefix.Contains(a) {
			return s.scope
		}
	}
	if a.Is4() || globalUnicast.Contains(a) {
		return public
	}
	return never
}
