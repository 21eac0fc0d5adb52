/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* One line from a client of the control socket, checked.
 * Shape:  lacuna/control.h; unknown members are ignored, unknown verbs are errors
 * Trust:  untrusted input: nesting is bounded before the parser recurses, sizes by
 *         LACUNA_CONTROL_LINE
 */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "lacuna/precontent.h"

enum request_verb {
	REQUEST_STATUS,
	REQUEST_FILE,
	REQUEST_FILL,
	REQUEST_EVICT,
	REQUEST_REFRESH,
	REQUEST_PIN,
	REQUEST_UNPIN,
	REQUEST_PINS,
	REQUEST_ATTACH,
	REQUEST_TRACE,
	REQUEST_DISMISS,
	REQUEST_VERIFY,
	REQUEST_METRICS,
	REQUEST_UPGRADE,
};

struct request {
	enum request_verb verb;
	uint64_t ino;       /* of FILE */
	unsigned bar;       /* of FILE: slices, ≤ REQUEST_BAR_MAX */
	GArray *inos;       /* of FILL, EVICT, REFRESH, PIN, UNPIN: uint64_t, owned; else NULL */
	bool repair, bytes; /* of VERIFY */
	/* of ATTACH: */
	bool every, content;
	uint32_t backlog;
	char name[LACUNA_NAME_MAX + 1]; /* of DISMISS, too */
};

#define REQUEST_BAR_MAX 4096

/* `line` without its newline. `error`: one line; `out` untouched on failure. */
bool request_parse(const char *line, size_t length, struct request *out, GError **error);
void request_clear(struct request *r);
