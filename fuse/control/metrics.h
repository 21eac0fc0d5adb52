/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The daemon's counters as OpenMetrics 1.0 text: those of status, of the meter and of the engines.
 * Cost: short locks of the engines, one after the other; the text is less than 64 KiB */
#pragma once
#include <glib.h>

struct server;

#define METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* The whole text, to its "# EOF". */
GString *metrics_text(struct server *s);
