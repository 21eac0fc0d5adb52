/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fuse/inode/strikes.h"
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "fuse/base/area.h"

#define THREADS 1024
#define PLACES 4096
#define STRIKES_MAX 18
#define STRIKES_BLAMED 6
#define SENT_MAX 256
#define IDLE UINT64_MAX
#define BLAMED (UINT64_C(1) << 62) /* the kernel does not count that far */

struct strike {
	uint64_t request;
	uint32_t strikes, sent;
};

struct strikes {
	uint64_t work[THREADS]; /* atomic: of each thread; 0: no thread's; IDLE */
	struct strike places[PLACES];
};

static struct strikes *table(struct area *a)
{
	return area_region(a, AREA_STRIKES);
}

static __thread uint64_t *mine;

/* The thread ends: its place is the next one's. */
static void place_leave(gpointer place)
{
	mine = NULL;
	__atomic_store_n((uint64_t *)place, 0, __ATOMIC_SEQ_CST);
}

static GPrivate ending = G_PRIVATE_INIT(place_leave);

static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
#define FATAL (sizeof(fatal) / sizeof(*fatal))

/* Threads block all signals, and the kernel calls no handler of a blocked one that it forces. */
static void fatal_unblock(void)
{
	sigset_t set;
	sigemptyset(&set);
	for (unsigned n = 0; n < FATAL; n++)
		sigaddset(&set, fatal[n]);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* NULL: there are more threads than places. */
static uint64_t *place_of_thread(struct area *a)
{
	for (unsigned n = 0; a->kept && !mine && n < THREADS; n++) {
		uint64_t none = 0;
		uint64_t *w = &table(a)->work[n];
		if (__atomic_compare_exchange_n(w, &none, IDLE, false, __ATOMIC_SEQ_CST,
		                                __ATOMIC_SEQ_CST))
			mine = w;
		if (mine) {
			g_private_set(&ending, mine);
			fatal_unblock();
		}
	}
	return mine;
}

uint64_t strikes_work(struct area *a, uint64_t request)
{
	uint64_t *w = place_of_thread(a);
	if (!w)
		return 0;
	uint64_t before = __atomic_load_n(w, __ATOMIC_RELAXED);
	__atomic_store_n(w, request ? request : IDLE, __ATOMIC_RELAXED);
	return before == IDLE ? 0 : before;
}

static struct sigaction before[FATAL];

/* Its own fault: of the processor, or abort(3). Any other is of a signal from outside. The handler
 * that was there before follows. */
static void blame(int number, siginfo_t *info, void *context)
{
	bool own = info->si_code > 0 || (info->si_code == SI_TKILL && info->si_pid == getpid());
	uint64_t *w = mine;
	if (own && w)
		__atomic_fetch_or(w, BLAMED, __ATOMIC_RELAXED);
	for (unsigned n = 0; n < FATAL; n++)
		if (fatal[n] == number)
			sigaction(number, &before[n], NULL);
	if (info->si_code <= 0) /* else the instruction fails again */
		raise(number);
}

void strikes_start(struct area *a)
{
	const struct sigaction action = {.sa_sigaction = blame, .sa_flags = SA_SIGINFO};
	for (unsigned n = 0; a->kept && n < FATAL; n++)
		sigaction(fatal[n], &action, &before[n]);
}

static struct strike *strike_of(struct area *a, uint64_t request)
{
	struct strike *s = &table(a)->places[request / 2 % PLACES];
	if (s->request != request)
		*s = (struct strike){.request = request};
	return s;
}

void strikes_count(struct area *a)
{
	struct strikes *t = table(a);
	uint64_t blamed = 0;
	for (unsigned n = 0; n < THREADS; n++)
		if (t->work[n] != IDLE)
			blamed |= t->work[n] & BLAMED;
	for (unsigned n = 0; n < THREADS; n++) {
		uint64_t request = t->work[n];
		t->work[n] = 0;
		if (request && request != IDLE && (request & BLAMED) == blamed)
			strike_of(a, request & ~BLAMED)->strikes += blamed ? STRIKES_BLAMED : 1;
	}
}

bool strikes_out(struct area *a, uint64_t request)
{
	struct strike *s = strike_of(a, request);
	return s->strikes >= STRIKES_MAX || ++s->sent > SENT_MAX;
}
