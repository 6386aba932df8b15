// Package nameserver is a DNS server for tests.
package nameserver

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// Resolver returns a resolver that asks a name server in the test. answer returns the IPv4 addresses
// of any name, and may return others later. A resolver repeats a query whose answer is late.
func Resolver(t testing.TB, answer func() []netip.Addr) *net.Resolver {
	t.Helper()
	server, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	go serve(server, answer)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// Always returns an answer function that gives every name the same addresses.
func Always(addresses ...string) func() []netip.Addr {
	list := make([]netip.Addr, len(addresses))
	for i, a := range addresses {
		list[i] = netip.MustParseAddr(a)
	}
	return func() []netip.Addr { return list }
}

// Rebinding returns a resolver that gives every name a public address until rebind is called, and
// then the address of this machine.
func Rebinding(t testing.TB) (resolver *net.Resolver, rebind func()) {
	t.Helper()
	var rebound atomic.Bool
	before, after := Always("8.8.8.8"), Always("127.0.0.1")
	resolver = Resolver(t, func() []netip.Addr {
		if rebound.Load() {
			return after()
		}
		return before()
	})
	return resolver, func() { rebound.Store(true) }
}

// serve answers queries until the connection is closed.
func serve(server net.PacketConn, answer func() []netip.Addr) {
	for b := make([]byte, 1500); ; {
		n, from, err := server.ReadFrom(b)
		if err != nil {
			return
		}
		end := 12
		for end < n && b[end] != 0 {
			end += 1 + int(b[end])
		}
		end += 5 // the last label, type and class
		if n < end {
			continue
		}
		reply := append([]byte{}, b[:end]...)
		clear(reply[6:12])
		reply[2], reply[3] = 0x81, 0x80
		if kind := binary.BigEndian.Uint16(b[end-4:]); kind == 1 { // type A; other queries, such as for IPv6, get no address
			for _, address := range answer() {
				reply[7]++
				reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				reply = append(reply, address.AsSlice()...)
			}
		}
		_, _ = server.WriteTo(reply, from)
	}
}
