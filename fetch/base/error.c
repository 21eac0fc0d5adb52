/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/base/error.h"
#include <errno.h>

/* G_DEFINE_QUARK keeps the quark in a variable that threads read and write without a lock. */
GQuark fetch_error_quark(void)
{
	return g_quark_from_static_string("lacuna-fetch-error");
}

GQuark local_error_quark(void)
{
	return g_quark_from_static_string("lacuna-local-error");
}

GQuark denial_error_quark(void)
{
	return g_quark_from_static_string("lacuna-denial-error");
}

/* GLib creates its lock of the domains with the first error, and the thread sanitizer reports two
 * threads that do so: the first error is created here, by one thread. */
__attribute__((constructor)) static void error_begin(void)
{
	g_error_free(g_error_new_literal(FETCH_ERROR, FETCH_CANCELLED, ""));
}

const char *fetch_error_class(enum fetch_error code)
{
	static const char *const names[FETCH_ERRORS] = {
	        [FETCH_UNREACHABLE] = "unreachable", [FETCH_TIMEOUT] = "timeout",
	        [FETCH_SERVER] = "server",           [FETCH_DENIED] = "denied",
	        [FETCH_MISSING] = "missing",         [FETCH_CHANGED] = "changed",
	        [FETCH_PROTOCOL] = "content",
	};
	return names[code];
}

int fetch_error_errno(const GError *error, bool listing)
{
	if (error == NULL)
		return 0;
	/* a code that is no errno would read as success, or as another call's result */
	if (error->domain == LOCAL_ERROR || error->domain == DENIAL_ERROR)
		return error->code > 0 && error->code < 4096 ? error->code : EIO;
	if (error->domain != FETCH_ERROR)
		return EIO;
	switch ((enum fetch_error)error->code) {
	case FETCH_DENIED:
		return EACCES;
	case FETCH_MISSING:
		return listing ? ENOENT : EIO;
	case FETCH_DIRECTORY:
		return listing ? EISDIR : EIO;
	default:
		return EIO;
	}
}

bool fetch_error_transient(const GError *error)
{
	return g_error_matches(error, FETCH_ERROR, FETCH_UNREACHABLE) ||
	       g_error_matches(error, FETCH_ERROR, FETCH_TIMEOUT) ||
	       g_error_matches(error, FETCH_ERROR, FETCH_SERVER);
}
