/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* A program of hundreds of megabytes: BLOB, all of it mapped when it starts.
 * Usage:  program         touches 8 pages of it, far apart
 *         program all     touches one page of each MiB
 * Output: a hash of what it touched
 */
#include <stdint.h>
#include <stdio.h>

__asm__(".section .rodata\n"
        ".balign 4096\n"
        "blob:\n"
        ".incbin \"" BLOB "\"\n"
        "blob_end:\n"
        ".previous\n");

extern const unsigned char blob[], blob_end[];

int main(int argc, char **argv)
{
	size_t size = (size_t)(blob_end - blob), step = argc > 1 ? (size_t)1 << 20 : size / 8;
	uint64_t hash = 0;
	for (size_t at = 0; at < size; at += step)
		hash = (hash ^ blob[at]) * UINT64_C(0x100000001b3);
	printf("%llx\n", (unsigned long long)hash);
	return 0;
}
