// A ClickHouse server with replication, out of the libchdb.so of npm chdb 3.4.0 (ClickHouse 26.7.2.1, linux-x64), for tests
// on one machine alone: it asks nobody for a password, and listens where its configuration says.
//
//   replica LIBCHDB                                 looks whether this is the library that it knows, and ends: 0, or 4
//   replica LIBCHDB HOST PORT --config-file … --query "SYSTEM START LISTEN HTTP; …"
//
// HOST:PORT is where the other replicas fetch parts; the rest is clickhouse-local's command line. clickhouse-local has
// ReplicatedMergeTree and ZooKeeper's client, but not four things that clickhouse-server does at its start. They are done here
// in the memory of this process. The places are offsets in that one build: its build id and the bytes at each place are
// compared first, and any other library is refused.
//
//  1. Context::getInterserverIOAddress answers HOST:PORT. Without it CREATE TABLE answers 139.
//  2. ContextSharedPart::interserver_scheme is "http". Without it fetches fail with 422.
//  3. Context::getInterserverCredentials answers empty credentials where a part is fetched, none where it is served. Without it
//     the process ends with SIGSEGV.
//  4. Every second <listen_host> of SYSTEM START LISTEN HTTP is served by InterserverIOHTTPHandler-factory instead of
//     HTTPHandler-factory: the configuration names the clients' host first, then HOST.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KNOWN_LIBRARY "the libchdb.so of npm chdb 3.4.0 (linux-x64, ClickHouse 26.7.2.1)"

static const uint8_t known_build_id[20] = {0xd3, 0xd8, 0xf5, 0x51, 0x75, 0x77, 0xad, 0x52, 0x77, 0x5b,
                                           0x52, 0x31, 0x8a, 0x19, 0x37, 0x84, 0xb2, 0xfb, 0x53, 0x17};

// Virtual addresses in that build, with the bytes that stand there.
static const struct place {
  const char *name;
  uintptr_t at;
  uint8_t bytes[10];
} address_of = {"Context::getInterserverIOAddress", 0x1417c9c0, {0x41, 0x56, 0x53, 0x48, 0x83, 0xec, 0x48, 0x4c, 0x8b, 0x36}},
  credentials_of = {"Context::getInterserverCredentials", 0x1417c940, {0x41, 0x57, 0x41, 0x56, 0x53, 0x4c, 0x8b, 0x3f, 0x49, 0x8d}},
  // The call of createHandlerFactory in LocalServer::startServers.
  factory_call = {"createHandlerFactory's call", 0xf117ff6, {0xe8, 0xc5, 0xdc, 0x27, 0x09, 0x48, 0x89, 0x84, 0x24, 0x80}},
  // Where the serving side (InterserverIOHTTPHandler) has called getInterserverCredentials: the call is before it.
  serving_return = {"InterserverIOHTTPHandler's check", 0x183d5270, {0x49, 0x89, 0xc6, 0x48, 0x89, 0x44, 0x24, 0x68, 0x48, 0x89}};
static const uintptr_t scheme_offset = 0x170; // of interserver_scheme in ContextSharedPart

typedef struct chdb_result_ chdb_result;
// libc++'s std::string in ClickHouse's build: up to 22 bytes in place, the length in the last byte; longer ones are
// pointer, size and capacity with the top bit set.
struct short_string { char bytes[23]; uint8_t length; };
struct long_string { char *bytes; uint64_t size, capacity; };
// std::shared_ptr, answered in two registers.
struct shared_pointer { void *object, *control; };
struct io_address { struct short_string host; uint16_t port; };

static void set_string(struct short_string *to, const char *text) {
  memset(to, 0, sizeof *to);
  to->length = (uint8_t)strlen(text);
  memcpy(to->bytes, text, to->length);
}

// Patches 1 and 2. `context` begins with the pointer to ContextSharedPart.
static char interserver_host[23];
static uint16_t interserver_port;
static struct io_address *interserver_address(struct io_address *answer, void *context) {
  set_string(&answer->host, interserver_host);
  answer->port = interserver_port;
  set_string((struct short_string *)(*(char **)context + scheme_offset), "http");
  return answer;
}

// Patch 3. Zero bytes are two empty strings: fetching sends no credentials. The serving side takes "none" as "ask none".
static char empty_credentials[256];
static void *serving_side;
static struct shared_pointer interserver_credentials(void *context) {
  (void)context;
  struct shared_pointer answer = {0, 0};
  if (__builtin_return_address(0) != serving_side) answer.object = empty_credentials;
  return answer;
}

// Patch 4.
typedef struct shared_pointer (*create_factory)(void *, void *, void *, void *, void *);
static create_factory create_handler_factory;
static struct shared_pointer factory_by_turn(void *server, void *config, void *metrics, void *name, void *rest) {
  static char text[] = "InterserverIOHTTPHandler-factory";
  static int listeners;
  struct long_string interserver = {text, sizeof text - 1, sizeof text | (1ull << 63)};
  return create_handler_factory(server, config, metrics, ++listeners % 2 == 0 ? (void *)&interserver : name, rest);
}

struct wanted { uintptr_t base; int known; char build_id[41]; };
static int read_build_id(struct dl_phdr_info *library, size_t size, void *argument) {
  (void)size;
  struct wanted *wanted = argument;
  if (library->dlpi_addr != wanted->base) return 0;
  for (int i = 0; i < library->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &library->dlpi_phdr[i];
    if (segment->p_type != PT_NOTE || segment->p_memsz < sizeof(ElfW(Nhdr)) + 4) continue;
    const ElfW(Nhdr) *note = (const void *)(library->dlpi_addr + segment->p_vaddr);
    const uint8_t *id = (const uint8_t *)(note + 1) + 4; // behind the name "GNU\0"
    if (note->n_type != NT_GNU_BUILD_ID || note->n_namesz != 4 || note->n_descsz > 20) continue;
    for (unsigned k = 0; k < note->n_descsz; k++) sprintf(wanted->build_id + 2 * k, "%02x", id[k]);
    wanted->known = note->n_descsz == sizeof known_build_id && memcmp(id, known_build_id, sizeof known_build_id) == 0;
    return 1;
  }
  return 1;
}

static int refuse(const char *path, const char *why) {
  fprintf(stderr, "replica: %s is another library than the one whose offsets replica.c knows: %s.\n"
                  "It needs " KNOWN_LIBRARY ".\n", path, why);
  return 4;
}

static void make_writable(uint8_t *at) {
  uintptr_t page = (uintptr_t)at & ~4095ull;
  if (mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC)) {
    perror("replica: mprotect");
    _exit(3);
  }
}

static void jump(uint8_t *at, void *to) { // mov rax, to; jmp rax: the stack, and so the return address, stays
  make_writable(at);
  at[0] = 0x48, at[1] = 0xb8, at[10] = 0xff, at[11] = 0xe0;
  memcpy(at + 2, &to, 8);
}

// Executable memory within the 2 GB that the 32-bit distance of a call reaches.
static uint8_t *memory_near(uintptr_t base) {
  for (uintptr_t at = (base & ~4095ull) - 0x10000; at > base - 0x40000000ull; at -= 0x10000) {
    void *got = mmap((void *)at, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == (void *)at) return got;
    if (got != MAP_FAILED) munmap(got, 8192);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 2 && argc < 5) {
    fprintf(stderr, "usage: replica LIBCHDB [INTERSERVER_HOST INTERSERVER_PORT clickhouse-local's arguments]\n");
    return 2;
  }
  const char *path = argv[1];
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "replica: %s\n", dlerror());
    return 2;
  }
  chdb_result *(*run)(int, char **) = dlsym(library, "chdb_query_cmdline");
  char *(*buffer)(chdb_result *) = dlsym(library, "chdb_result_buffer");
  size_t (*length)(chdb_result *) = dlsym(library, "chdb_result_length");
  const char *(*error)(chdb_result *) = dlsym(library, "chdb_result_error");
  if (!run || !buffer || !length || !error) return refuse(path, "it exports no chdb_query_cmdline");

  Dl_info where;
  if (!dladdr((void *)run, &where)) return refuse(path, "it cannot be found in memory");
  uint8_t *base = where.dli_fbase;
  struct wanted wanted = {(uintptr_t)base, 0, ""};
  dl_iterate_phdr(read_build_id, &wanted);
  char why[160];
  if (!wanted.known) {
    snprintf(why, sizeof why, "build id %s", wanted.build_id[0] ? wanted.build_id : "missing");
    return refuse(path, why);
  }
  const struct place *places[] = {&address_of, &credentials_of, &factory_call, &serving_return};
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
    if (memcmp(base + places[i]->at, places[i]->bytes, sizeof places[i]->bytes)) {
      snprintf(why, sizeof why, "other bytes at %s", places[i]->name);
      return refuse(path, why);
    }
  }
  if (argc == 2) {
    printf("%s is " KNOWN_LIBRARY "\n", path);
    fflush(stdout);
    _exit(0);
  }

  if (strlen(argv[2]) >= sizeof interserver_host || atoi(argv[3]) < 1 || atoi(argv[3]) > 65535) {
    fprintf(stderr, "replica: INTERSERVER_HOST has at most 22 bytes, INTERSERVER_PORT is 1 to 65535\n");
    return 2;
  }
  strcpy(interserver_host, argv[2]);
  interserver_port = (uint16_t)atoi(argv[3]);
  jump(base + address_of.at, interserver_address);
  serving_side = base + serving_return.at;
  jump(base + credentials_of.at, interserver_credentials);
  uint8_t *call = base + factory_call.at, *trampoline = memory_near((uintptr_t)base);
  if (!trampoline) {
    fprintf(stderr, "replica: no free memory near the library\n");
    return 5;
  }
  int32_t distance;
  memcpy(&distance, call + 1, 4);
  create_handler_factory = (create_factory)(call + 5 + distance);
  jump(trampoline, factory_by_turn);
  make_writable(call);
  distance = (int32_t)(trampoline - (call + 5));
  memcpy(call + 1, &distance, 4);

  argv[3] = "clickhouse";
  chdb_result *result = run(argc - 3, argv + 3);
  int code = 0;
  if (result) {
    if (error(result)) {
      fprintf(stderr, "%s\n", error(result));
      code = 1;
    }
    if (buffer(result)) fwrite(buffer(result), 1, length(result), stdout);
  }
  fflush(stdout);
  _exit(code);
}
