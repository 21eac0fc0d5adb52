/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Internals of liblacuna that this library needs: a program must not find descriptors that it did
 * not open, and a child of fork() must not close its parent's connection. */
#pragma once
#include "lacuna/precontent.h"

/* Moves its descriptors to numbers that programs do not use. 0 or -EMFILE. */
int inside_hide(struct lacuna_handler *h);
/* As lacuna_close(). `lost`: another process continues with it, and notices nothing. */
void inside_close(struct lacuna_handler *h, int lost);
/* Without an answer. */
void inside_free(struct lacuna_request *r);
