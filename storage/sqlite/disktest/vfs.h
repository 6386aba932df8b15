// The part of SQLite's virtual file system interface that is used here, from its documentation.
// The driver's own header cannot be included from another package.
#pragma once
#include <stdint.h>

typedef struct sqlite3_file { const struct sqlite3_io_methods *methods; } sqlite3_file;
typedef struct sqlite3_vfs sqlite3_vfs;

struct sqlite3_io_methods {
	int version;
	int (*close)(sqlite3_file *);
	int (*read)(sqlite3_file *, void *, int, int64_t);
	int (*write)(sqlite3_file *, const void *, int, int64_t);
	int (*truncate)(sqlite3_file *, int64_t);
	int (*sync)(sqlite3_file *, int);
	int (*size)(sqlite3_file *, int64_t *);
	int (*lock)(sqlite3_file *, int);
	int (*unlock)(sqlite3_file *, int);
	int (*reserved)(sqlite3_file *, int *);
	int (*control)(sqlite3_file *, int, void *);
	int (*sector)(sqlite3_file *);
	int (*device)(sqlite3_file *);
	// version 2
	int (*shm_map)(sqlite3_file *, int, int, int, void volatile **);
	int (*shm_lock)(sqlite3_file *, int, int, int);
	void (*shm_barrier)(sqlite3_file *);
	int (*shm_unmap)(sqlite3_file *, int);
};

struct sqlite3_vfs {
	int version;
	int file_size;
	int most_path;
	sqlite3_vfs *next;
	const char *name;
	void *data;
	int (*open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);
	int (*remove)(sqlite3_vfs *, const char *, int);
	void *rest[14]; // access to next_system_call
};

sqlite3_vfs *sqlite3_vfs_find(const char *);
int sqlite3_vfs_register(sqlite3_vfs *, int make_default);

int disktest_register(void);
