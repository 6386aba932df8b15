package main

import "syscall"

// statDisk describes the file system of a directory.
func statDisk(dir string) (disk, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return disk{}, err
	}
	d := disk{free: s.Bavail * uint64(s.Bsize)}
	// See statfs(2). The type of the field differs between architectures.
	switch uint32(s.Type) {
	case 0x6969, 0xff534d42, 0xfe534d42, 0x517b, 0x01021997: // NFS, CIFS, SMB2, SMB, 9P
		d.kind = networkDisk
	case 0x01021994, 0x858458f6: // tmpfs, ramfs
		d.kind = memoryDisk
	case 0x794c7630: // overlayfs
		d.kind = containerDisk
	}
	return d, nil
}
