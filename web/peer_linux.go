package web

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ownPeer reports whether the socket at the other end of a connection on this machine
// belongs to the operating-system user who runs the server.
func ownPeer(peer, server netip.AddrPort) bool {
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		if uid, found := ownerOf(table, peer, server); found {
			return uid == os.Geteuid()
		}
	}
	return false
}

// ownerOf returns the user id of a connected socket in a table of the kernel.
func ownerOf(table string, local, remote netip.AddrPort) (uid int, found bool) {
	f, err := os.Open(table)
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || !isAddr(fields[1], local) || !isAddr(fields[2], remote) {
			continue
		}
		uid, err := strconv.Atoi(fields[7])
		return uid, err == nil
	}
	return 0, false
}

// isAddr reports whether text is an address in the kernel's tables: words of 32 bits in the
// machine's order, in hexadecimal, a colon, and the port.
func isAddr(text string, want netip.AddrPort) bool {
	host, port, _ := strings.Cut(text, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil || uint16(p) != want.Port() {
		return false
	}
	raw, err := hex.DecodeString(host)
	if err != nil {
		return false
	}
	for word := range slices.Chunk(raw, 4) {
		if len(word) == 4 {
			binary.BigEndian.PutUint32(word, binary.NativeEndian.Uint32(word))
		}
	}
	addr, ok := netip.AddrFromSlice(raw)
	return ok && addr.Unmap() == want.Addr().Unmap()
}
