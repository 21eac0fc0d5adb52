/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/base/seal.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>
#include "fetch/base/error.h"

#define X_BITS 0111u

/* Since Linux 6.17 */
#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES 0x80
#endif

/* By bit. */
static const char *const names[] = {"seal", "shrink", "grow", "write", "future-write", "exec"};
G_STATIC_ASSERT((1u << G_N_ELEMENTS(names)) - 1 == SEAL_ALL);
G_STATIC_ASSERT(LACUNA_SEAL_SEAL == F_SEAL_SEAL && LACUNA_SEAL_SHRINK == F_SEAL_SHRINK);
G_STATIC_ASSERT(LACUNA_SEAL_GROW == F_SEAL_GROW && LACUNA_SEAL_WRITE == F_SEAL_WRITE);

int seal_add(uint32_t *seals, uint32_t wanted, const struct seal_facts *facts)
{
	if (!facts->writable)
		return -EPERM;
	if (wanted & ~SEAL_ALL)
		return -EINVAL;
	if (!facts->sealable)
		return -EINVAL;
	if (*seals & LACUNA_SEAL_SEAL)
		return -EPERM;
	if ((wanted & LACUNA_SEAL_EXEC) && (facts->mode & X_BITS))
		wanted |= LACUNA_SEAL_SHRINK | LACUNA_SEAL_GROW | SEAL_WRITES;
	uint32_t added = wanted & ~*seals;
	if (facts->mapped && (added & LACUNA_SEAL_WRITE))
		return -EBUSY;
	if (facts->unseen && seal_needs_writes(added))
		return -EBUSY;
	*seals |= added;
	return 0;
}

bool seal_flags_writable(int open_flags)
{
	return (open_flags & O_ACCMODE) != O_RDONLY;
}

int seal_check_open(uint32_t seals, int open_flags)
{
	return (seals & SEAL_WRITES) && (open_flags & O_ACCMODE) == O_RDWR ? -EPERM : 0;
}

int seal_check_write(uint32_t seals, uint64_t offset, uint64_t length, uint64_t size,
                     bool writeback, uint64_t *allowed)
{
	uint32_t forbid = writeback ? LACUNA_SEAL_WRITE : SEAL_WRITES;
	uint64_t pass = length;
	if (length > 0 && (seals & forbid))
		return -EPERM;
	bool inside = offset <= size && length <= size - offset;
	if (length > 0 && !inside && (seals & LACUNA_SEAL_GROW)) {
		uint64_t end = size - size % (uint64_t)getpagesize();
		if (offset >= end)
			return -EPERM;
		pass = end - offset;
	}
	*allowed = pass;
	return 0;
}

int seal_check_truncate(uint32_t seals, uint64_t old_size, uint64_t new_size)
{
	if (new_size < old_size && (seals & LACUNA_SEAL_SHRINK))
		return -EPERM;
	if (new_size > old_size && (seals & LACUNA_SEAL_GROW))
		return -EPERM;
	return 0;
}

int seal_check_fallocate(uint32_t seals, int mode, uint64_t offset, uint64_t length, uint64_t size)
{
	bool inside = offset <= size && length <= size - offset;
	uint32_t past_end = inside ? 0 : LACUNA_SEAL_GROW;
	uint32_t forbid;
	switch (mode & ~FALLOC_FL_KEEP_SIZE) {
	case 0:
	case FALLOC_FL_UNSHARE_RANGE:
		forbid = past_end;
		break;
	case FALLOC_FL_PUNCH_HOLE:
		forbid = SEAL_WRITES;
		break;
	case FALLOC_FL_ZERO_RANGE:
	case FALLOC_FL_WRITE_ZEROES:
		forbid = SEAL_WRITES | past_end;
		break;
	case FALLOC_FL_COLLAPSE_RANGE:
		forbid = SEAL_WRITES | LACUNA_SEAL_SHRINK;
		break;
	case FALLOC_FL_INSERT_RANGE:
		forbid = SEAL_WRITES | LACUNA_SEAL_GROW;
		break;
	default:
		forbid = SEAL_WRITES | LACUNA_SEAL_SHRINK | LACUNA_SEAL_GROW;
		break;
	}
	return seals & forbid ? -EPERM : 0;
}

int seal_check_chmod(uint32_t seals, uint32_t old_mode, uint32_t new_mode)
{
	return (seals & LACUNA_SEAL_EXEC) && ((old_mode ^ new_mode) & X_BITS) ? -EPERM : 0;
}

bool seal_needs_writes(uint32_t seals)
{
	return seals & (SEAL_WRITES | LACUNA_SEAL_GROW);
}

bool seal_refuses_writes(uint32_t seals)
{
	return seals & SEAL_WRITES;
}

bool seal_parse(const char *text, uint32_t *seals, GError **error)
{
	uint32_t set = 0;
	g_auto(GStrv) words = g_strsplit(text, ",", -1);
	if (!words[0]) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "no seals given");
		return false;
	}
	for (char **word = words; *word; word++) {
		unsigned bit = 0;
		while (bit < G_N_ELEMENTS(names) && strcmp(*word, names[bit]) != 0)
			bit++;
		if (bit == G_N_ELEMENTS(names)) {
			g_set_error(error, FETCH_ERROR, FETCH_USAGE,
			            "unknown seal '%s': expects "
			            "seal, shrink, grow, write, future-write and exec",
			            *word);
			return false;
		}
		set |= 1u << bit;
	}
	*seals = set;
	return true;
}

char *seal_format(uint32_t seals)
{
	GString *text = g_string_new(NULL);
	for (unsigned bit = 0; bit < G_N_ELEMENTS(names); bit++)
		if (seals & (1u << bit))
			g_string_append_printf(text, "%s%s", text->len ? "," : "", names[bit]);
	return g_string_free(text, FALSE);
}
