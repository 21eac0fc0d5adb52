/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* Bounds the cookie jar of a transport; libcurl does not. */
#pragma once
#include "fetch/source/http/easy_context.h"

/* Empties a full jar: servers set the cookies they need again. `curl` shares the jar. */
void jar_check(struct easy_context *c, CURL *curl);
