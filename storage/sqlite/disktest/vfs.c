#include "vfs.h"
#include "_cgo_export.h"

// file is an open file. The real file system's structure follows it in memory.
typedef struct file {
	sqlite3_file base;
	int disk; // the file's number; 0 if it is on no simulated disk
} file;

static sqlite3_vfs *under;
static sqlite3_vfs over;

static sqlite3_file *real(sqlite3_file *f) { return (sqlite3_file *)((file *)f + 1); }
static int number(sqlite3_file *f) { return ((file *)f)->disk; }

static int on_close(sqlite3_file *f) { return real(f)->methods->close(real(f)); }
static int on_read(sqlite3_file *f, void *b, int n, int64_t at) { return real(f)->methods->read(real(f), b, n, at); }

static int on_write(sqlite3_file *f, const void *b, int n, int64_t at) {
	int rc = number(f) ? diskWrite(number(f), (void *)b, n, at) : 0;
	return rc ? rc : real(f)->methods->write(real(f), b, n, at);
}

static int on_truncate(sqlite3_file *f, int64_t size) {
	int rc = number(f) ? diskTruncate(number(f), size) : 0;
	return rc ? rc : real(f)->methods->truncate(real(f), size);
}

static int on_sync(sqlite3_file *f, int flags) {
	int rc = number(f) ? diskSync(number(f)) : 0;
	return rc ? rc : real(f)->methods->sync(real(f), flags);
}

static int on_size(sqlite3_file *f, int64_t *size) { return real(f)->methods->size(real(f), size); }
static int on_lock(sqlite3_file *f, int level) { return real(f)->methods->lock(real(f), level); }
static int on_unlock(sqlite3_file *f, int level) { return real(f)->methods->unlock(real(f), level); }
static int on_reserved(sqlite3_file *f, int *is) { return real(f)->methods->reserved(real(f), is); }
static int on_control(sqlite3_file *f, int op, void *arg) { return real(f)->methods->control(real(f), op, arg); }
static int on_sector(sqlite3_file *f) { return real(f)->methods->sector(real(f)); }
static int on_device(sqlite3_file *f) { return real(f)->methods->device(real(f)); }

static int on_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **at) {
	return real(f)->methods->shm_map(real(f), region, size, extend, at);
}
static int on_shm_lock(sqlite3_file *f, int at, int n, int flags) { return real(f)->methods->shm_lock(real(f), at, n, flags); }
static void on_shm_barrier(sqlite3_file *f) { real(f)->methods->shm_barrier(real(f)); }
static int on_shm_unmap(sqlite3_file *f, int remove) { return real(f)->methods->shm_unmap(real(f), remove); }

static const struct sqlite3_io_methods methods = {
	2, on_close, on_read, on_write, on_truncate, on_sync, on_size, on_lock, on_unlock, on_reserved,
	on_control, on_sector, on_device, on_shm_map, on_shm_lock, on_shm_barrier, on_shm_unmap,
};

static int on_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out) {
	f->methods = 0;
	((file *)f)->disk = 0;
	real(f)->methods = 0;
	int rc = under->open(under, name, real(f), flags, out);
	if (real(f)->methods)
		f->methods = &methods;
	if (rc == 0 && name)
		((file *)f)->disk = diskOpen((char *)name);
	return rc;
}

static int on_remove(sqlite3_vfs *v, const char *name, int sync) {
	diskRemove((char *)name);
	return under->remove(under, name, sync);
}

// disktest_register makes this file system SQLite's default.
int disktest_register(void) {
	under = sqlite3_vfs_find(0);
	over = *under; // the inherited functions do not depend on the VFS they are called with
	over.name = "disktest";
	over.file_size = sizeof(file) + under->file_size;
	over.open = on_open;
	over.remove = on_remove;
	return sqlite3_vfs_register(&over, 1);
}
