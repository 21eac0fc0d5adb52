/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <signal.h>
#include <stdlib.h>
#include "lib/handler.h"

struct loop {
	struct lacuna_handler *h;
	int (*answer)(void *user, const struct lacuna_request *r);
	void *user;
	_Atomic int ended; /* the error that ended it; 0: not yet */
};

static void answer_one(struct loop *l, struct lacuna_request *r)
{
	int said = l->answer(l->user, r);
	unsigned verdict = said < 0 ? LACUNA_DENY : said == 0 ? LACUNA_ALLOW : LACUNA_FETCH;
	if (lacuna_respond(l->h, r, verdict, said < 0 ? -said : 0) == -EINVAL)
		lacuna_respond(l->h, r, LACUNA_DENY, EIO);
}

static void *worker_main(void *data)
{
	struct loop *l = data;
	for (;;) {
		struct lacuna_request *r;
		int got = lacuna_next(l->h, -1, &r);
		if (got == 0) {
			answer_one(l, r);
		} else if (got != -EMFILE) { /* that event was denied: others may still fit */
			atomic_store(&l->ended, got);
			return NULL;
		}
	}
}

int lacuna_loop(struct lacuna_handler *h, unsigned threads,
                int (*answer)(void *user, const struct lacuna_request *r), void *user)
{
	ERRNO_KEPT;
	struct loop l = {.h = h, .answer = answer, .user = user};
	sigset_t all, before;
	unsigned started = 0;
	int r = 0;
	if (threads == 0 || !answer)
		return -EINVAL;
	pthread_t *workers = calloc(threads, sizeof(*workers));
	if (!workers)
		return -ENOMEM;
	handler_enter(h);
	/* Signals are for the caller's own threads */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (r == 0 && started < threads) {
		r = -pthread_create(&workers[started], NULL, worker_main, &l);
		started += r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	for (unsigned i = 0; i < started; i++)
		pthread_join(workers[i], NULL);
	free(workers);
	if (started)
		r = atomic_load(&l.ended);
	handler_leave(h);
	return r == -ESHUTDOWN ? 0 : r;
}
