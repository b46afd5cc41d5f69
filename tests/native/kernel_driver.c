/* Calls functions of a kernel's library on an image of somebody else's memory.
 *
 *     kernel_driver LIBRARY IMAGE OUT
 *
 * IMAGE, all int64: bytes of the memory, number of pointers in it, number of calls; where in the
 * memory each pointer stands (it holds a place in the memory); for each call the number of the
 * function, then seven arguments as pairs (1: a place in the memory, value); then the memory, from
 * a multiple of 64 on. OUT gets the memory after the calls, with places in place of pointers, and
 * behind it what each call returned.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#define OPEN(path) ((void *)LoadLibraryA(path))
#define FIND(library, name) ((void *)GetProcAddress((HMODULE)(library), name))
#else
#include <dlfcn.h>
#define OPEN(path) dlopen(path, RTLD_NOW)
#define FIND(library, name) dlsym(library, name)
#endif

/* Integers and pointers go the same way, and arguments that are too many are never looked at. */
typedef int64_t (*function)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);

static const char *NAMES[] = {"emag_cpu_level", "emag_layout", "emag_filter",
                              "emag_render",    "emag_step",   "emag_prepare"};

static int fail(const char *why) {
    fprintf(stderr, "kernel_driver: %s\n", why);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 4) return fail("needs LIBRARY IMAGE OUT");
    void *library = OPEN(argv[1]);
    if (!library) return fail("the library cannot be loaded");
    FILE *file = fopen(argv[2], "rb");
    int64_t head[3];
    if (!file || fread(head, 8, 3, file) != 3) return fail("the image cannot be read");
    const int64_t size = head[0], n_pointers = head[1], n_calls = head[2];
    int64_t *pointers = malloc(8 * (n_pointers + 1)), *calls = malloc(8 * 15 * (n_calls + 1));
    char *block = malloc(size + 64), *memory = block + 64 - (uintptr_t)block % 64;
    if (fread(pointers, 8, n_pointers, file) != (size_t)n_pointers ||
        fread(calls, 8, 15 * n_calls, file) != (size_t)(15 * n_calls) ||
        fread(memory, 1, size, file) != (size_t)size)
        return fail("the image is too short");
    fclose(file);
    for (int64_t i = 0; i < n_pointers; i++)
        *(int64_t *)(memory + pointers[i]) += (int64_t)(intptr_t)memory;
    for (int64_t i = 0; i < n_calls; i++) {
        int64_t *call = calls + 15 * i, a[7];
        function f = (function)(intptr_t)FIND(library, NAMES[call[0]]);
        if (!f) return fail(NAMES[call[0]]);
        for (int k = 0; k < 7; k++)
            a[k] = call[2 + 2 * k] + (call[1 + 2 * k] ? (int64_t)(intptr_t)memory : 0);
        call[0] = f(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    }
    for (int64_t i = 0; i < n_pointers; i++)
        *(int64_t *)(memory + pointers[i]) -= (int64_t)(intptr_t)memory;
    file = fopen(argv[3], "wb");
    if (!file || fwrite(memory, 1, size, file) != (size_t)size) return fail("OUT: cannot write");
    for (int64_t i = 0; i < n_calls; i++)
        if (fwrite(calls + 15 * i, 8, 1, file) != 1) return fail("OUT: cannot write");
    return fclose(file) ? fail("OUT: cannot write") : 0;
}
