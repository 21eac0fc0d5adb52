/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The sources of a mount in its status report. */
#pragma once
#include <json-glib/json-glib.h>
#include "fuse/inode/server.h"

/* The member `mirrors`: an array with one object per mirror, empty where there is one source. */
void report_mirrors(struct server *s, JsonBuilder *b);
/* The member `failures`: an object, how many requests to the source failed, by class. */
void report_failures(struct server *s, JsonBuilder *b);
/* The member `published`: the version of a published tree in use; null: the tree is not published.
 */
void report_published(struct server *s, JsonBuilder *b);
