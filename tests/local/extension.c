/* A native extension of Daft with one function, `same`, which hands its argument back: the least that tests can load. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

struct Function {
    const void *context;
    const char *(*name)(const void *);
    int (*return_field)(const void *, const struct ArrowSchema *, size_t, struct ArrowSchema *, char **);
    int (*call)(const void *, const struct ArrowArray *, const struct ArrowSchema *, size_t, struct ArrowArray *,
                struct ArrowSchema *, char **);
    void (*finish)(void *);
};

struct Session {
    void *context;
    int (*define)(void *, struct Function);
};

struct Module {
    uint32_t abi_version;
    const char *name;
    int (*start)(struct Session *);
    void (*free_text)(char *);
};

static const char *name(const void *context) { return "same"; }

static void release(struct ArrowSchema *schema) { schema->release = NULL; }

static int return_field(const void *context, const struct ArrowSchema *arguments, size_t count,
                        struct ArrowSchema *field, char **error) {
    memset(field, 0, sizeof *field);
    field->format = "l"; /* 64-bit integers */
    field->name = "same";
    field->flags = 2; /* may be null */
    field->release = release;
    return 0;
}

static int call(const void *context, const struct ArrowArray *arguments, const struct ArrowSchema *fields, size_t count,
                struct ArrowArray *array, struct ArrowSchema *field, char **error) {
    *array = arguments[0]; /* with what it owns */
    *field = fields[0];
    return 0;
}

static void finish(void *context) {}
static void free_text(char *text) {}

static int start(struct Session *session) {
    struct Function same = {NULL, name, return_field, call, finish};
    return session->define(session->context, same);
}

struct Module daft_module_magic(void) {
    struct Module module = {1, "same", start, free_text};
    return module;
}
