/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Requests that end workers. Each thread notes in the area which request it works on.
 * Rule:    a request whose thread crashed three times is not tried again; nor is one that was being
 *          worked on at 18 deaths by a signal from outside (the kernel's for lack of memory), or
 *          was sent again 256 times, whatever it was that the workers died of: no request waits
 *          for ever
 * Shape:   a table by the number of the request, one request a place; a later one takes the place
 * Locking: strikes_work() from any thread; the others on one
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct area;

/* A thread that crashes from here on leaves a mark. */
void strikes_start(struct area *a);
/* This thread works on `request`; 0: on none. Returns what it worked on. */
uint64_t strikes_work(struct area *a, uint64_t request);
/* Takeover: what the threads of the worker before worked on has more strikes. */
void strikes_count(struct area *a);
/* The request is sent again. true: once too often. */
bool strikes_out(struct area *a, uint64_t request);
