// The aggregate function pack(...) of package packed.

#include <string.h>

// The part of SQLite's C interface that pack uses, which is stable. The driver contains the library
// but does not export its header.

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_value sqlite3_value;
typedef long long int sqlite3_int64;
typedef unsigned long long int sqlite3_uint64;

#define SQLITE_INTEGER 1
#define SQLITE_TEXT 3
#define SQLITE_BLOB 4
#define SQLITE_UTF8 1
#define SQLITE_DIRECTONLY 0x000080000

int sqlite3_auto_extension(void (*)(void));
int sqlite3_create_function_v2(sqlite3 *, const char *, int, int, void *,
                               void (*)(sqlite3_context *, int, sqlite3_value **),
                               void (*)(sqlite3_context *, int, sqlite3_value **),
                               void (*)(sqlite3_context *), void (*)(void *));
void *sqlite3_aggregate_context(sqlite3_context *, int);
void *sqlite3_realloc64(void *, sqlite3_uint64);
void sqlite3_free(void *);
int sqlite3_value_type(sqlite3_value *);
int sqlite3_value_bytes(sqlite3_value *);
sqlite3_int64 sqlite3_value_int64(sqlite3_value *);
const void *sqlite3_value_blob(sqlite3_value *);
const unsigned char *sqlite3_value_text(sqlite3_value *);
void sqlite3_result_blob64(sqlite3_context *, const void *, sqlite3_uint64, void (*)(void *));
void sqlite3_result_error_nomem(sqlite3_context *);

// UVARINT_MAX is the maximum number of bytes of an encoded number.
#define UVARINT_MAX 10

struct buffer {
  unsigned char *bytes;
  sqlite3_uint64 len, cap;
};

// reserve makes room for n more bytes. It returns 0 if there is no memory for them.
static int reserve(struct buffer *b, sqlite3_uint64 n) {
  if (b->cap - b->len >= n) return 1;
  sqlite3_uint64 cap = b->cap ? b->cap : 1024;
  while (cap - b->len < n) cap *= 2;
  unsigned char *bytes = sqlite3_realloc64(b->bytes, cap);
  if (!bytes) return 0;
  b->bytes = bytes;
  b->cap = cap;
  return 1;
}

// put_uvarint appends a number as binary.AppendUvarint of Go does.
static void put_uvarint(struct buffer *b, sqlite3_uint64 v) {
  for (; v >= 0x80; v >>= 7) b->bytes[b->len++] = (unsigned char)v | 0x80;
  b->bytes[b->len++] = (unsigned char)v;
}

// put appends a value: its type, then a number, or the length and the bytes of a text or blob.
// It returns 0 if there is no memory for it.
static int put(struct buffer *b, sqlite3_value *value) {
  int type = sqlite3_value_type(value);
  const void *from = 0;
  if (type == SQLITE_TEXT) from = sqlite3_value_text(value);
  if (type == SQLITE_BLOB) from = sqlite3_value_blob(value);
  sqlite3_uint64 n = from ? (sqlite3_uint64)sqlite3_value_bytes(value) : 0;
  if (type == SQLITE_TEXT && !from) return 0; // an empty blob has no pointer, an empty text does
  if (!reserve(b, n + 1 + UVARINT_MAX)) return 0;
  b->bytes[b->len++] = (unsigned char)type;
  switch (type) {
  case SQLITE_INTEGER: {
    sqlite3_int64 v = sqlite3_value_int64(value);
    put_uvarint(b, (sqlite3_uint64)v << 1 ^ (sqlite3_uint64)(v >> 63));
    break;
  }
  case SQLITE_TEXT:
  case SQLITE_BLOB:
    put_uvarint(b, n);
    if (n) memcpy(b->bytes + b->len, from, n);
    b->len += n;
    break;
  }
  return 1;
}

static void pack_step(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
  struct buffer *b = sqlite3_aggregate_context(ctx, sizeof *b);
  for (int i = 0; b && i < argc; i++) {
    if (!put(b, argv[i])) b = 0;
  }
  if (!b) sqlite3_result_error_nomem(ctx);
}

// pack_final returns the bytes, NULL if there were no rows. SQLite calls it also after an error,
// and then drops the result.
static void pack_final(sqlite3_context *ctx) {
  struct buffer *b = sqlite3_aggregate_context(ctx, 0);
  if (b && b->bytes) sqlite3_result_blob64(ctx, b->bytes, b->len, sqlite3_free);
}

static int pack_init(sqlite3 *db, char **error, const void *api) {
  (void)error;
  (void)api;
  return sqlite3_create_function_v2(db, "pack", -1, SQLITE_UTF8 | SQLITE_DIRECTONLY, 0, 0, pack_step, pack_final, 0);
}

// pack_register adds pack to all connections opened afterwards. It returns a SQLite result code.
static int pack_register(void) { return sqlite3_auto_extension((void (*)(void))pack_init); }
