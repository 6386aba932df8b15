package outgoing

import (
	"net/netip"
	"testing"
)

func TestScopesOfAddresses(t *testing.T) {
	for _, test := range []struct {
		address string
		want    scope
		what    string
	}{
		{"8.8.8.8", public, "public"},
		{"93.184.215.14", public, "public"},
		{"100.63.255.255", public, "below the shared range"},
		{"100.128.0.0", public, "above the shared range"},
		{"172.15.255.255", public, "below a private range"},
		{"172.32.0.0", public, "above a private range"},
		{"192.0.1.0", public, "between protocol assignments and documentation"},
		{"198.17.255.255", public, "below benchmarks"},
		{"198.20.0.0", public, "above benchmarks"},
		{"223.255.255.255", public, "below multicast"},
		{"2600::1", public, "public"},
		{"2a00:1450:4001::1", public, "public"},
		{"::ffff:8.8.8.8", public, "mapped"},
		{"64:ff9b::8.8.8.8", public, "translated by NAT64"},

		{"127.0.0.1", private, "loopback"},
		{"127.255.255.254", private, "loopback"},
		{"::1", private, "loopback"},
		{"10.0.0.1", private, "private"},
		{"172.16.0.1", private, "private"},
		{"172.31.255.255", private, "private"},
		{"192.168.1.1", private, "private"},
		{"100.64.0.1", private, "shared by a carrier"},
		{"100.127.255.255", private, "shared by a carrier"},
		{"fc00::1", private, "unique local"},
		{"fdff:ffff::1", private, "unique local"},
		{"::ffff:127.0.0.1", private, "mapped loopback"},
		{"::ffff:10.0.0.1", private, "mapped private"},

		{"0.0.0.0", never, "unspecified"},
		{"0.1.2.3", never, "this network"},
		{"::", never, "unspecified"},
		{"::ffff:0.0.0.0", never, "mapped unspecified"},
		{"169.254.169.254", never, "link-local: metadata of clouds"},
		{"::ffff:169.254.169.254", never, "mapped link-local"},
		{"fe80::1", never, "link-local"},
		{"fe80::1%lo", never, "link-local with a zone"},
		{"fec0::1", never, "site-local"},
		{"100.100.100.200", never, "metadata of a cloud"},
		{"168.63.129.16", never, "metadata of a cloud"},
		{"fd00:ec2::254", never, "metadata of a cloud"},
		{"fd20:ce::254", never, "metadata of a cloud"},
		{"192.0.0.192", never, "metadata of a cloud, and protocol assignments"},
		{"192.0.2.1", never, "documentation"},
		{"198.51.100.1", never, "documentation"},
		{"203.0.113.1", never, "documentation"},
		{"2001:db8::1", never, "documentation"},
		{"3fff::1", never, "documentation"},
		{"198.18.0.1", never, "benchmarks"},
		{"198.19.255.255", never, "benchmarks"},
		{"2001:2::1", never, "benchmarks"},
		{"224.0.0.1", never, "multicast"},
		{"239.255.255.250", never, "multicast"},
		{"ff02::1", never, "multicast"},
		{"240.0.0.1", never, "reserved"},
		{"255.255.255.255", never, "broadcast"},
		{"192.88.99.1", never, "relay of 6to4"},
		{"::127.0.0.1", never, "compatible"},
		{"::8.8.8.8", never, "compatible, although of a public address"},
		{"64:ff9b::127.0.0.1", never, "NAT64 of loopback"},
		{"64:ff9b::10.0.0.1", never, "NAT64 of a private address"},
		{"64:ff9b::169.254.169.254", never, "NAT64 of a link-local address"},
		{"64:ff9b:1::10.0.0.1", never, "NAT64 with a local prefix"},
		{"2002:7f00:1::", never, "6to4 of loopback"},
		{"2002:808:808::", never, "6to4 of a public address"},
		{"2001:0:7f00:1::", never, "Teredo"},
		{"2001:10::1", never, "ORCHID"},
		{"100::1", never, "discarded"},
		{"4000::1", never, "not assigned"},
		{"5f00::1", never, "segment routing"},
	} {
		if got := scopeOf(netip.MustParseAddr(test.address)); got != test.want {
			t.Errorf("%s, %s: scope %d, want %d", test.address, test.what, got, test.want)
		}
	}
	if scopeOf(netip.Addr{}) != never {
		t.Error("the zero address can be called")
	}
}
