/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The area: shared memory that outlives the worker (fuse/keeper/keeper.h). It holds what the kernel
 * relies on and the store does not have: inodes, names, open files, requests that change names.
 * Shape:   one mapping, made by the keeper before it starts a worker, thus at one address in all of
 *          them: pointers into the area stay valid. A header, then regions; address space only:
 *          pages that were never touched cost nothing
 * Another program (fuse/keeper/upgrade.h) maps it at the same address, and believes it only if its
 *          own structures have the same layout. That address is one that no program of any kind,
 *          nor a sanitizer's, uses: area.c
 * Killed:  a worker may end between any two stores to memory. What is linked in is linked last and
 *          unlinked first; counters, locks and free lists are never believed, but made again
 * Checked: area_check() by each worker after the first; each region by its owner
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AREA_VERSION 1 /* of what the members mean; their places: area_map() */
#define AREA_INIT_MAX 256
#define AREA_KEPT_HANDLERS_SIZE (UINT64_C(2) << 30)

enum area_phase {
	AREA_STARTS, /* no worker has mounted yet, or none can take over: its end is the keeper's */
	AREA_SERVES, /* mounted: another worker takes over */
	AREA_LEAVES, /* it ends in order: its end is the keeper's */
};

enum area_region {
	AREA_INODES,
	AREA_HANDLES,
	AREA_ARENA,
	AREA_JOURNAL,
	AREA_STRIKES,
	AREA_KEPT_HANDLERS,
	AREA_PLACES,
	AREA_REGIONS
};

struct notice;

struct area {
	uint64_t magic;
	uint32_t version;
	bool kept;        /* there is a keeper: the area outlives this process */
	uint32_t workers; /* started so far; the keeper's, as the next two */
	int32_t status;   /* as of waitpid(2): how the last one ended; -1: not known */
	int64_t ended_ns; /* CLOCK_MONOTONIC */
	_Atomic uint32_t phase;
	/* The kernel sends pending requests again (Linux 6.9): without that, their callers would
	 * wait for ever once another worker took over */
	_Atomic bool resends;
	_Atomic uint32_t fresh; /* requests that this worker took, not counting those sent again */
	/* The kernel's INIT message; 0 bytes: none yet */
	_Atomic uint32_t init_size;
	_Alignas(8) char init[AREA_INIT_MAX];
	size_t offsets[AREA_REGIONS + 1]; /* of the regions, and the end */
	struct area *self;                /* where it is mapped, in each process */
	uint64_t layout;
	uint64_t device;    /* st_dev of the mount; 0: unknown */
	int64_t started_ns; /* CLOCK_REALTIME: of the mount */
	/* Slots ever used, of each region */
	_Atomic uint32_t inodes, handles, slabs;
	_Atomic uint64_t events; /* numbers given to events of handlers */
	_Atomic int32_t backing; /* the highest backing id so far */
	uint32_t generation;     /* of the inode that was made last */
	struct notice *notices;  /* fuse/inode/notices.h */
};

/* `kept`: shared with the children of this process; *fd (may be NULL) becomes a descriptor of it,
 * which the caller owns, or -1. NULL: errno. */
struct area *area_new(bool kept, int *fd);
/* The layout of all that lies in an area, and its version, as one number. It differs if that of a
 * structure does. */
uint64_t area_layout(void);
/* The area that another program has made. NULL: `why` is one line, static: it is none, has another
 * layout, or its place is taken in this process. */
struct area *area_map(int fd, const char **why);
/* Does it lie at the address that every program keeps free? Elsewhere (a small address space, that
 * address taken) area_map() of another program may find it taken, by chance. */
bool area_is_placed(const struct area *a);
void area_free(struct area *a);
/* Is it an area of this version that a worker left? */
bool area_check(const struct area *a);
void *area_region(struct area *a, enum area_region region);
size_t area_region_size(const struct area *a, enum area_region region);
/* The bytes are not used any more: their pages, where they are whole, go back to the kernel, and
 * are zeros when they are touched again. Zeros, or what they were, if the kernel does not take
 * them. */
void area_give(struct area *a, enum area_region region, size_t offset, size_t size);
/* The first `size` bytes of a region are about to be used: one system call in place of a page fault
 * for each page. */
void area_populate(struct area *a, enum area_region region, size_t size);
