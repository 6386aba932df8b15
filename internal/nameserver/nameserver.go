// Package nameserver is a DNS server for tests.
package nameserver

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
)

// Resolver returns a resolver that asks a name server in the test. answer returns the IPv4 address
// of any name, given the number of queries for IPv4 addresses so far, this one included, and may
// answer each differently. It is called by one goroutine.
func Resolver(t testing.TB, answer func(question int) netip.Addr) *net.Resolver {
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

// Always returns an answer function that gives every name one address.
func Always(address string) func(int) netip.Addr {
	return func(int) netip.Addr { return netip.MustParseAddr(address) }
}

// serve answers queries until the connection is closed.
func serve(server net.PacketConn, answer func(int) netip.Addr) {
	asked := 0
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
			asked++
			address := answer(asked).As4()
			reply[7] = 1
			reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
			reply = append(reply, address[:]...)
		}
		_, _ = server.WriteTo(reply, from)
	}
}
