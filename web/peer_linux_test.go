package web

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// TestOwnerOf finds the test's own connection, and one of another user, in the kernel's tables.
func TestOwnerOf(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Logf("%s: %v", address, err) // a machine without IPv6
			continue
		}
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer, server := netip.MustParseAddrPort(c.LocalAddr().String()), netip.MustParseAddrPort(l.Addr().String())
		if !ownPeer(peer, server) {
			t.Errorf("%s: the test's own connection is not its own", address)
		}
		other := netip.AddrPortFrom(peer.Addr(), peer.Port()^1)
		if ownPeer(other, server) {
			t.Errorf("%s: a connection that does not exist is the test's own", address)
		}
		_, _ = c.Close(), l.Close()
	}
	table := filepath.Join(t.TempDir(), "tcp")
	const lines = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n" +
		"   0: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000    33        0 12345 1\n"
	if err := os.WriteFile(table, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 { // the table is from a little-endian machine
		uid, found := ownerOf(table, netip.MustParseAddrPort("127.0.0.1:54321"), netip.MustParseAddrPort("127.0.0.1:8080"))
		if uid != 33 || !found {
			t.Errorf("the owner is %d, found is %v; want 33", uid, found)
		}
	}
	if _, found := ownerOf(table, netip.MustParseAddrPort("127.0.0.1:54322"), netip.MustParseAddrPort("127.0.0.1:8080")); found {
		t.Error("found the owner of a connection that does not exist")
	}
}
