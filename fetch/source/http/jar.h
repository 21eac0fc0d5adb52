/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The cookies of a transport, which libcurl keeps, without a bound. */
#pragma once
#include "fetch/source/http/easy_context.h"

/* A jar that is full is emptied: whoever needs a cookie sets it again. `curl` shares the jar. */
void jar_check(struct easy_context *c, CURL *curl);
