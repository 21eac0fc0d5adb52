/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Remembers which mirrors could not serve a file: they are asked last for a while, where they would
 * otherwise cost one request more for each range of it.
 * Shape:   a few places, found by hash; a new file replaces the one in its place
 * Units:   ns, CLOCK_MONOTONIC; a set of mirrors has one bit each
 * Locking: its owner's
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define DETOUR_PLACES 256u

struct detours {
	struct {
		uint64_t key;
		int64_t until_ns;
		uint32_t mirrors;
	} places[DETOUR_PLACES];
};

void detour_note(struct detours *d, const char *path, unsigned mirror, int64_t now,
                 int64_t until_ns);
uint32_t detour_mirrors(const struct detours *d, const char *path, int64_t now);
